# Tidemark. `make` alone prints what there is.
#
# run, build, test, bench and fuzz need Go, make and git; lint and e2e also
# need Node 20 or newer. Works with GNU make from 3.81 (macOS) on.

.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# -buildvcs=false: the version comes from here, and Go's own stamping fails in
# a checkout that belongs to another user (containers, CI).
BUILD = CGO_ENABLED=0 go build -trimpath -buildvcs=false

# Tools are pinned here and built once into bin/tools, so that they need the
# network only the first time and nobody's go.mod.
GOLANGCI_LINT = bin/tools/golangci-lint@v2.15.0
ACTIONLINT    = bin/tools/actionlint@v1.7.12
COMPOSE_CHECK = bin/tools/compose-check@v2.16.2
KUSTOMIZE     = bin/tools/kustomize@v5.5.0
KUBE_VALIDATE = bin/tools/kubectl-validate@v0.0.4
GORELEASER    = bin/tools/goreleaser@v2.16.0
SYFT          = bin/tools/syft@v1.57.1
GOTESTSUM     = bin/tools/gotestsum@v1.13.0
GOVULNCHECK   = bin/tools/govulncheck@v1.9.0

# Runs a command beside one PostgreSQL server for all packages (none if
# TIDEMARK_TEST_DATABASE_URL names one).
WITH_POSTGRES = go run ./tests/pgtest/cmd --

# npm's own stamps: packages are installed again only when their lock changed.
E2E_MODULES  = tests/e2e/node_modules/.package-lock.json
SPEC_MODULES = tests/e2e/spec/node_modules/.package-lock.json
CLIENTS_MODULES = tests/e2e/clients/node_modules/.package-lock.json
LIBRARIES_MODULES = tests/e2e/libraries/node_modules/.package-lock.json

BROKERS   = postgres logical nats redis
# Not tests/contract: its tour goes to the limits of one node.
BLACK_BOX = ./tests/blackbox ./tests/model ./tests/badinput ./tests/contract/goclient

FUZZTIME ?= 5s
TIMEOUT  ?= 15m
# Tests of a package that run at a time: most of them wait for servers.
PARALLEL ?= 4

##@ Use it

.PHONY: help
help: ## this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo

.PHONY: run
run: build ## start the server on 127.0.0.1:8080, SQLite in ./data (OPEN=1 opens a browser; ARGS="--log-level debug")
	@sh scripts/run.sh bin/tidemark $(ARGS)

.PHONY: cluster
cluster: build ## three nodes, PostgreSQL and a broker on this machine, behind nginx (BROKER=nats NODES=5)
	@go run ./tests/cluster -broker $(or $(BROKER),postgres) -nodes $(or $(NODES),3)

# Always asked to build: Go knows better than make what has changed. The
# download comes first because it is silent, a build that downloads is not.
.PHONY: build
build: ## build bin/tidemark, a static binary
	@go mod download
	@$(BUILD) -ldflags '-s -w -X main.version=$(VERSION)' -o bin/tidemark ./cmd/tidemark

# A language without its generator here is named and left out.
.PHONY: clients
clients: $(CLIENTS_MODULES) ## clients generated from openapi.yaml, into tests/e2e/clients/*/generated (ONLY=rust)
	@node tests/e2e/clients/generate.mjs $(ONLY)

##@ Change it

.PHONY: verify
verify: lint test ## what to run before a push: lint and test

.PHONY: test
test: $(GOTESTSUM) ## every Go test, on SQLite and PostgreSQL (PKG=./syncer/... RUN=TestPush for some)
	@race=$$(sh scripts/race.sh) && \
	if [ -z "$$race" ]; then export CGO_ENABLED=0; fi && \
	$(WITH_POSTGRES) $(GOTESTSUM) --format pkgname-and-test-fails --format-hide-empty-pkg -- \
		$$race -timeout $(TIMEOUT) -parallel $(PARALLEL) $(if $(RUN),-run '$(RUN)') $(or $(PKG),./...)

# What is tested over HTTP, where a server on PostgreSQL becomes three of them.
.PHONY: test-cluster
test-cluster: $(GOTESTSUM) ## the black-box tests on three nodes, with each broker (BROKER=nats for one; NODES=5)
	@race=$$(sh scripts/race.sh) && \
	if [ -z "$$race" ]; then export CGO_ENABLED=0; fi && \
	for broker in $(or $(BROKER),$(BROKERS)); do \
		echo "== $(or $(NODES),3) nodes, $$broker" && \
		TIDEMARK_TEST_NODES=$(or $(NODES),3) TIDEMARK_TEST_BROKER=$$broker \
		$(WITH_POSTGRES) $(GOTESTSUM) --format pkgname-and-test-fails --format-hide-empty-pkg -- \
			$$race -timeout $(TIMEOUT) -parallel $(PARALLEL) $(if $(RUN),-run '$(RUN)') $(BLACK_BOX) || exit 1; \
	done

# SEEDS=1-10 PART=T2 runs a part with those seeds; CHECKS, STEPS, CLIENTS, LENGTH, ROUNDS
# and FUZZTIME change the sizes.
.PHONY: soak
soak: ## the tests of the guarantees for hours, summed up as the table in README (PART=T2 SEEDS=1-10; PUBLISH=1 writes it)
	@$(BUILD) -o bin/soak ./tests/soak
	@$(if $(PUBLISH),,$(WITH_POSTGRES)) bin/soak $(if $(PUBLISH),--publish) $(if $(PART),--part '$(PART)') $(if $(SEEDS),--seeds '$(SEEDS)') \
		$(if $(CHECKS),--checks '$(CHECKS)') $(if $(STEPS),--steps '$(STEPS)') $(if $(CLIENTS),--clients '$(CLIENTS)') \
		$(if $(LENGTH),--length '$(LENGTH)') $(if $(ROUNDS),--rounds '$(ROUNDS)') $(if $(filter command environment,$(firstword $(origin FUZZTIME))),--fuzztime '$(FUZZTIME)') $(ARGS)

.PHONY: teeth
teeth: ## plants 25 bugs in copies of the tree, each of which a test must catch (NAME=receipts for some; ARGS=-v)
	@$(BUILD) -o bin/teeth ./tests/teeth
	@$(WITH_POSTGRES) bin/teeth $(ARGS) $(NAME)

# Its logs, and the history of a step that failed, stay in bin/ha-logs.
.PHONY: ha
ha: ## PostgreSQL under Patroni behind HAProxy, killed, frozen and cut off under load; ends with a table (minutes; Debian's packages; PUBLISH=1 writes it to deploy/README.md)
	@tools=$$(sh scripts/ha-tools.sh) && rm -rf bin/ha-logs && mkdir -p bin/ha-logs && \
	TIDEMARK_TEST_HA=$$tools TIDEMARK_TEST_HA_LOGS=$(CURDIR)/bin/ha-logs \
	$(if $(PUBLISH),$(if $(RUN),$(error PUBLISH wants all parts, without RUN))TIDEMARK_TEST_HA_PUBLISH=$$(git rev-parse --short HEAD)) \
	go test ./tests/ha -count 1 -v -run '$(or $(RUN),TestHA)' -timeout 30m > bin/ha-logs/test.log 2>&1; status=$$?; \
	grep -v 'level=' bin/ha-logs/test.log; exit $$status

.PHONY: lint
lint: lint-go lint-spec lint-files lint-vuln ## formatting, go vet and the linters, openapi.yaml, scripts, workflow, compose file, known vulnerabilities

.PHONY: lint-go
lint-go: $(GOLANGCI_LINT)
	@$(GOLANGCI_LINT) run ./...

.PHONY: lint-spec
lint-spec: $(SPEC_MODULES)
	@out=$$(npm --prefix tests/e2e/spec run --silent lint 2>&1) || { echo "$$out" >&2; exit 1; }

.PHONY: lint-files
lint-files: $(ACTIONLINT) $(COMPOSE_CHECK) $(KUSTOMIZE) $(KUBE_VALIDATE)
	@sh scripts/lint-files.sh $(ACTIONLINT) $(COMPOSE_CHECK)
	@sh scripts/lint-deploy.sh $(KUSTOMIZE) $(KUBE_VALIDATE)

.PHONY: lint-vuln
lint-vuln: $(GOVULNCHECK)
	@sh scripts/lint-vuln.sh $(GOVULNCHECK)

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## format the Go code as lint wants it
	@$(GOLANGCI_LINT) fmt ./...

.PHONY: client
client: $(E2E_MODULES) ## api/web/dist, the browser client as it is served, of api/web/tidemark.js
	@npm --silent --prefix tests/e2e run build

.PHONY: e2e
e2e: build $(E2E_MODULES) $(SPEC_MODULES) ## browser client, demo page in Chromium, generated TypeScript client (needs Node)
	@sh scripts/e2e.sh

.PHONY: e2e-all
e2e-all: build $(E2E_MODULES) $(SPEC_MODULES) $(CLIENTS_MODULES) $(LIBRARIES_MODULES) ## e2e, the conformance kit, the generated clients and the libraries with an adapter; ends with a table of what passed
	@sh scripts/e2e-all.sh

.PHONY: stopwatch
stopwatch: $(E2E_MODULES) ## how long it takes from git clone to the first edit seen in the second pane; fails at two minutes
	@sh scripts/stopwatch.sh

# Token and secret go by the environment: everybody can read a command line.
.PHONY: bench
bench: export BENCH_TOKEN = $(TOKEN)
bench: export BENCH_SECRET = $(SECRET)
bench: build ## figures beside the limits of this machine (ONLY=push,idle ROUNDS=1 DURATION=2s; PUBLISH=1; URL=… TOKEN=… for a deployment)
	@$(BUILD) -o bin/load ./tests/load
	@bin/load $(if $(ONLY),--only '$(ONLY)') $(if $(ROUNDS),--rounds '$(ROUNDS)') $(if $(DURATION),--duration '$(DURATION)') \
		$(if $(URL),--url '$(URL)') $(if $(PUBLISH),--publish) $(ARGS)

.PHONY: microbench
microbench: ## Go benchmarks, each as a ratio to the first of its group (BENCH=Push COUNT=6)
	@sh scripts/microbench.sh '$(or $(BENCH),.)' '$(or $(COUNT),1)'

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (5s)
	@sh scripts/fuzz.sh $(FUZZTIME)

.PHONY: migration
migration: ## create the next up and down files for both dialects: make migration name=add_inbox
	@sh scripts/migration.sh '$(name)'

# Not a part of lint: goreleaser takes minutes to build. CI has a job for it.
.PHONY: lint-release
lint-release: $(GORELEASER) ## .goreleaser.yaml (its tool takes minutes to build, once)
	@$(GORELEASER) check --quiet

# goreleaser looks for syft in PATH.
.PHONY: snapshot
snapshot: $(GORELEASER) $(SYFT) ## what a release would hold, into dist/: binaries, checksums, SBOMs (its tools take minutes to build, once)
	@sh scripts/release.sh $(GORELEASER) $(SYFT) --snapshot

.PHONY: release
release: $(GORELEASER) $(SYFT)
	@sh scripts/release.sh $(GORELEASER) $(SYFT)

.PHONY: sizes
sizes: ## lines per package without tests, longest files and functions (for information)
	@sh scripts/sizes.sh

.PHONY: clean
clean: ## remove what make made; ./data stays
	rm -rf bin dist tests/e2e/node_modules tests/e2e/spec/node_modules \
		tests/e2e/clients/node_modules tests/e2e/libraries/node_modules tests/e2e/clients/build tests/e2e/clients/*/generated

# The rest are files that targets above need.

%/node_modules/.package-lock.json: %/package.json %/package-lock.json
	@command -v npm >/dev/null || { echo "this needs Node 20 or newer (npm was not found)" >&2; exit 1; }
	@npm --prefix $* ci --silent --no-progress
	@touch $@

$(GOLANGCI_LINT):
	@echo "building golangci-lint: about two minutes, once" >&2
	@sh scripts/install-tool.sh $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(ACTIONLINT):
	@sh scripts/install-tool.sh $@ github.com/rhysd/actionlint/cmd/actionlint

$(COMPOSE_CHECK):
	@sh scripts/install-tool.sh $@ github.com/compose-spec/compose-go/v2/cmd

$(GORELEASER):
	@echo "building goreleaser: some minutes, once" >&2
	@sh scripts/install-tool.sh $@ github.com/goreleaser/goreleaser/v2

$(SYFT):
	@echo "building syft: some minutes, once" >&2
	@sh scripts/install-tool.sh $@ github.com/anchore/syft/cmd/syft

$(KUSTOMIZE):
	@sh scripts/install-tool.sh $@ sigs.k8s.io/kustomize/kustomize/v5

$(KUBE_VALIDATE):
	@sh scripts/install-tool.sh $@ sigs.k8s.io/kubectl-validate

$(GOVULNCHECK):
	@sh scripts/install-tool.sh $@ golang.org/x/vuln/cmd/govulncheck

$(GOTESTSUM):
	@sh scripts/install-tool.sh $@ gotest.tools/gotestsum
