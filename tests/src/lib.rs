pub mod chromium;
pub mod lambda_host;
pub mod world;
