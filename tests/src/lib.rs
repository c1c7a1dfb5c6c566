pub mod chromium;
pub mod lambda_host;
pub mod stage;
pub mod world;
