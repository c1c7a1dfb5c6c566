# Only for `sam build`, which calls build-<Function> with ARTIFACTS_DIR set. POLICY names the policy file to ship:
#     POLICY=policies/mine.toml sam build
# ARCHITECTURE names what the functions run on, x86_64 or arm64: the template's parameter of that name must say the same.
#     ARCHITECTURE=arm64 sam build

POLICY ?= policies/emqx.toml
ARCHITECTURE ?= x86_64

# Lambda's Amazon Linux 2023 has glibc 2.34.
TARGET_x86_64 = x86_64-unknown-linux-gnu.2.34
TARGET_arm64 = aarch64-unknown-linux-gnu.2.34
TARGET = $(or $(TARGET_$(ARCHITECTURE)),$(error ARCHITECTURE is x86_64 or arm64))

build-Landing: BINARY = landing
build-Notifications: BINARY = notifications
build-Worker: BINARY = worker
build-Sweeper: BINARY = sweeper
build-Metering: BINARY = metering
build-Usage: BINARY = usage

build-Landing build-Notifications build-Worker build-Sweeper build-Metering build-Usage:
	cargo lambda build --release --locked --target $(TARGET) --package tradepost-aws --bin $(BINARY)
	cp target/lambda/$(BINARY)/bootstrap "$(ARTIFACTS_DIR)/bootstrap"
	cp "$(POLICY)" "$(ARTIFACTS_DIR)/policy.toml"
	mkdir -p "$(ARTIFACTS_DIR)/policies" && cp policies/*.toml "$(ARTIFACTS_DIR)/policies/"

.PHONY: build-Landing build-Notifications build-Worker build-Sweeper build-Metering build-Usage
