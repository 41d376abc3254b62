"""The description of the token API that the package brings for those without a binary is the binary's own."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import narthex
from conftest import binary

PACKAGED = Path(narthex.__file__).with_name("token_api.json")


def test_the_packaged_description_is_what_the_binary_says(tmp_path: Path) -> None:
    (tmp_path / "narthex.toml").write_text("[plugins.jwt]\n[plugins.token-api]\n")
    said = subprocess.run([binary(), "routes", "--openapi"], cwd=tmp_path, capture_output=True, check=True).stdout
    wanted = json.dumps(token_api(json.loads(said)), indent=2) + "\n"
    if os.environ.get("WRITE"):
        PACKAGED.write_text(wanted)
    assert PACKAGED.read_text() == wanted, "write it anew: WRITE=1 NARTHEX_BIN=… pytest python/interop -k packaged"


def token_api(document: dict[str, Any]) -> dict[str, Any]:
    """Its endpoints and what they refer to, and nothing else."""
    paths = {path: ways for path, ways in document["paths"].items() if path.startswith("/token-api/")}
    schemas, texts, needed = document["components"]["schemas"], [json.dumps(paths)], set()
    while texts:
        for name in re.findall(r"#/components/schemas/(\w+)", texts.pop()):
            if name not in needed:
                needed.add(name)
                texts.append(json.dumps(schemas[name]))
    return {"paths": paths, "components": {"schemas": {name: schemas[name] for name in sorted(needed)}}}
