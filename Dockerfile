# docker build --tag narthex .
#
# Needs BuildKit (Docker 23 and later have it on): what cargo downloads and compiles is kept between builds.
# How to run what this makes: docs/guides/deploy/containers.md

FROM rust:1.95-trixie AS build
WORKDIR /src
COPY . .
# The folder of a cache mount is no part of the image, so the binary is moved out of it. The empty folder becomes /data.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --locked --profile dist --package narthex-server \
    && install -D target/dist/narthex /out/narthex \
    && install -d /out/data

# Distroless: glibc, libgcc, the certificates of public authorities and an unprivileged user, but no shell and no package
# manager, so there is less to attack and less to patch than in debian-slim. The same Debian as above, for its glibc.
FROM gcr.io/distroless/cc-debian13:nonroot
COPY --from=build /out/narthex /usr/bin/narthex
# A new volume takes over the owner of what it covers; 65532 is the user of the base image.
COPY --from=build --chown=65532:65532 /out/data /data
# What is relative is relative to here: narthex.toml, if one is mounted, and `data-dir`, which is "." unless it is set.
WORKDIR /data
VOLUME /data
# Listens on every address, as it must inside a container; platforms set another port.
ENV PORT=3001
EXPOSE 3001
# SIGTERM, which Docker sends, lets requests in flight finish for 20 seconds.
STOPSIGNAL SIGTERM
# Asks the server's own /health, so no other program is needed in the image.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["narthex", "health"]
ENTRYPOINT ["narthex"]
CMD ["serve"]
