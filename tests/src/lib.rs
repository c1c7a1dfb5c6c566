pub mod lambda_host;
pub mod world;
