# One image for client, gateway, relay and portal (PG-84): docker build -t postern .
# How it is run stands in docs/operating.md. Its folders are writable for the group root, too: a root without
# CAP_DAC_OVERRIDE, as client and gateway run, may write there only so.

FROM node:24-bookworm-slim AS build
WORKDIR /src
COPY . .
RUN npm ci && node scripts/build.mjs

FROM node:24-bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates iproute2 nftables tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --home-dir /var/lib/postern --shell /usr/sbin/nologin postern \
 && install -d /etc/postern \
 && install -d -o postern -g root -m 0770 /run/postern /var/lib/postern
COPY --from=build /src/package.json /src/LICENSE /src/NOTICE /usr/lib/postern/
COPY --from=build /src/build/program /usr/lib/postern/build/program
COPY --from=build /src/build/*.wasm /usr/lib/postern/build/
COPY --from=build /src/node_modules/koffi /usr/lib/postern/node_modules/koffi
COPY --from=build /src/node_modules/@koromix /usr/lib/postern/node_modules/@koromix
RUN ln -s ../lib/postern/build/program/main.js /usr/bin/postern

ENV POSTERN_HEALTH_ADDR=0.0.0.0:8080
VOLUME /var/lib/postern
USER postern
HEALTHCHECK --start-period=60s CMD ["postern", "healthcheck"]
ENTRYPOINT ["tini", "--", "postern"]
