# syntax=docker/dockerfile:1

# Built on the builder's own platform and cross-compiled: no emulation, and
# CGO_ENABLED=0 makes the binary static, so that an image without libc runs it.
# The same commit gives the same binary, wherever it is built: no paths (-trimpath),
# no build id, no stamp of the checkout. BuildKit reads SOURCE_DATE_EPOCH for the
# times in the image; .github/workflows/release.yml sets it to the commit's.
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG VERSION=dev
ARG TARGETOS
ARG TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/root/.cache/go-build \
    mkdir -p /out/data && \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.version=$VERSION" \
    -o /out/tidemark ./cmd/tidemark

FROM gcr.io/distroless/static-debian12:nonroot
ARG VERSION=dev
LABEL org.opencontainers.image.title="Tidemark" \
      org.opencontainers.image.description="Sync server: push versioned edits, pull what changed" \
      org.opencontainers.image.source="https://github.com/tidemark/tidemark" \
      org.opencontainers.image.documentation="https://github.com/tidemark/tidemark/blob/main/deploy/README.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION"
COPY --from=build /out/tidemark /tidemark
# A volume mounted here takes over this folder's owner; root's would leave
# SQLite without a place to write.
COPY --from=build --chown=65532:65532 /out/data /data
# Inside a container loopback reaches nobody. Beyond loopback the server wants
# auth: it does not start without TIDEMARK_AUTH_SECRET or TIDEMARK_AUTH_JWKS.
ENV TIDEMARK_LISTEN=0.0.0.0:8080 \
    TIDEMARK_DATABASE_URL=sqlite:/data/tidemark.db
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8080
# There is no shell and no curl in the image: the binary asks itself.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/tidemark", "healthcheck"]
ENTRYPOINT ["/tidemark"]
CMD ["serve"]
