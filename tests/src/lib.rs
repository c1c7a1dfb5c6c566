pub mod azure_app;
pub mod chromium;
pub mod inspection;
pub mod lambda_host;
pub mod stage;
pub mod world;
