//! The fake provider as a program, for tests in other languages and the benchmark.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use clap::Parser;
use faregate_fake_provider::{FakeProvider, Options};

/// Speaks every provider's wire format, with faults on demand.
#[derive(Parser)]
struct Arguments {
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 9100)]
    port: u16,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Requests kept in the log; 0 keeps none.
    #[arg(long, default_value_t = 1000)]
    log: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let address = SocketAddr::new(arguments.host, arguments.port);
    let provider = match FakeProvider::start_with(Options { address, log_capacity: arguments.log }).await {
        Ok(provider) => provider,
        Err(error) => {
            eprintln!("cannot listen on {address}: {error}");
            return ExitCode::FAILURE;
        }
    };
    eprintln!("fake provider listening on {}", provider.url());
    match tokio::signal::ctrl_c().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
