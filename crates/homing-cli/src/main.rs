//! The `homing` command.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    homing_cli::run(homing_cli::App::new("homing")).await
}
