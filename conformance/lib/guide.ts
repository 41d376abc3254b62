/** The code that a guide tells people to use, so that exactly that is tested. */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const guide = path.resolve(here, "../../docs/guides/beside-better-auth.md");
/** Below node_modules, so that the packages the code imports are found. */
const folder = path.resolve(here, "../node_modules/.cache/guide");

/** The path of a module with the guide's code block that begins with `// <name>`. */
export function fromGuide(name: string): string {
  const blocks = [...fs.readFileSync(guide, "utf8").matchAll(/^```js\n(.*?)^```$/gms)].map(([, code = ""]) => code);
  const found = blocks.filter((code) => code.startsWith(`// ${name}\n`));
  if (found.length !== 1) throw new Error(`${guide} has ${found.length} blocks that begin with "// ${name}"`);
  fs.mkdirSync(folder, { recursive: true });
  const file = path.join(folder, name);
  fs.writeFileSync(file, found[0] ?? "");
  return file;
}
