# Only for `sam build`, which calls build-<Function> with ARTIFACTS_DIR set. POLICY names the policy file to ship:
#     POLICY=policies/mine.toml sam build

POLICY ?= policies/emqx.toml

build-Landing: BINARY = landing
build-Notifications: BINARY = notifications
build-Worker: BINARY = worker
build-Sweeper: BINARY = sweeper
build-Metering: BINARY = metering
build-Usage: BINARY = usage

build-Landing build-Notifications build-Worker build-Sweeper build-Metering build-Usage:
	cargo lambda build --release --locked --arm64 --package tradepost-aws --bin $(BINARY)
	cp target/lambda/$(BINARY)/bootstrap "$(ARTIFACTS_DIR)/bootstrap"
	cp "$(POLICY)" "$(ARTIFACTS_DIR)/policy.toml"
	mkdir -p "$(ARTIFACTS_DIR)/policies" && cp policies/*.toml "$(ARTIFACTS_DIR)/policies/"

.PHONY: build-Landing build-Notifications build-Worker build-Sweeper build-Metering build-Usage
