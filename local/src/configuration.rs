//! The configuration page: every variable and every member of the secret, as the code knows them.

use tradepost::settings::reference::{SECRETS, VARIABLES, table};
use tradepost_aws::config::VARIABLES as OF_AWS;
use tradepost_azure::config::{SECRETS as SECRETS_OF_AZURE, VARIABLES as OF_AZURE};

/// The page in Markdown.
pub fn page() -> String {
    format!(
        "# Configuration

Every variable of the environment and every member of the secret, with what holds without it. You seldom set a variable by hand: on AWS
[`template.yaml`](../template.yaml) sets them from its parameters ([deploy-aws.md](deploy-aws.md)), on Azure `infra/azure/main.bicep`
does ([deploy-azure.md](deploy-azure.md)). What an organization may do is not configuration but policy ([policy.md](policy.md)).

This page is written by `cargo run -- configuration > docs/configuration.md`; `cargo run -- doctor` says whether a configuration
holds together.

## Variables everywhere

{everywhere}
## Variables on AWS

{aws}
## Variables on Azure

{azure}
## The secret

JSON: on AWS the text of the secret in Secrets Manager, on Azure that of the secret in Key Vault.

{secrets}
On Azure beside those:

{secrets_of_azure}",
        everywhere = table(&VARIABLES),
        aws = table(&OF_AWS),
        azure = table(&OF_AZURE),
        secrets = table(&SECRETS),
        secrets_of_azure = table(&SECRETS_OF_AZURE),
    )
}
