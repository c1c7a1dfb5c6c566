//! This machine: whether `cargo run` could start.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use tradepost::policy::Policy;

use super::Finding;

/// Looks at the port, the folder of the state and the policy that `cargo run` would use. Writes nothing that stays.
pub fn here(port: u16, data: &Path, policy: Option<&Path>) -> Vec<Finding> {
    vec![port_of(port), folder(data), rules(policy)]
}

fn port_of(port: u16) -> Finding {
    match TcpListener::bind(("127.0.0.1", port)) {
        Ok(_) => Finding::well("port", format!("{port} is free")),
        Err(error) => Finding::wrong("port", format!("{port} cannot be had ({error}); choose another with --port")),
    }
}

fn folder(data: &Path) -> Finding {
    let shown = data.display();
    if !data.exists() {
        return Finding::well("state", format!("{shown} is not there yet; it is made at the first start"));
    }
    let trial = data.join(".doctor");
    let tried = fs::write(&trial, b"").and_then(|()| fs::remove_file(&trial));
    match tried {
        Ok(()) => Finding::well("state", format!("{shown} can be written to")),
        Err(error) => {
            Finding::wrong("state", format!("{shown} cannot be written to ({error}); choose another with --data"))
        }
    }
}

fn rules(policy: Option<&Path>) -> Finding {
    let Some(path) = policy else { return Finding::well("policy", "the EMQX preset") };
    match fs::read_to_string(path) {
        Err(error) => Finding::wrong("policy", format!("{} cannot be read ({error})", path.display())),
        Ok(text) => match Policy::parse(&text) {
            Ok(policy) => Finding::well("policy", format!("{}, {} listings", policy.vendor, policy.listings.len())),
            Err(error) => {
                Finding::wrong("policy", format!("{}: {error}; `policy check` names every line", path.display()))
            }
        },
    }
}
