//! The whole product against stand-ins, a room of tests a file. They are one program, since each program carries all of
//! what it tests: a quarter of a gigabyte.

mod activation;
mod alarming;
mod aws_metering;
mod azure;
mod azure_handler;
mod azure_landing;
mod bad_input;
mod billing_page;
mod calls;
mod configuration;
mod contracts;
mod cut_over;
mod dead_letters;
mod deletion;
mod doctor;
mod doors;
mod entra;
mod events;
mod functions_app;
mod functions_host;
mod fuzz;
mod health;
mod index_page;
mod infrastructure;
mod kept;
mod kill9;
mod lambda_host;
mod ledger;
mod logs;
mod messages;
mod notices;
mod pages;
mod parked;
mod performance;
mod pitfalls;
mod policies;
mod product;
mod races;
mod reconciler;
mod reviews;
mod runs;
mod sequences;
mod sessions;
mod simulation;
mod sns;
mod upgrade;
mod usage;
mod usage_api;
mod usage_crowds;
mod usage_edges;
mod usage_end;
mod usage_histories;
mod usage_rules;
mod usage_told;
mod vendor_api;

#[test]
fn every_room_is_entered() {
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for program in ["system", "browser"] {
        let entered = std::fs::read_to_string(tests.join(program).join("main.rs")).unwrap();
        let rooms = std::fs::read_dir(tests.join(program)).unwrap().map(|entry| entry.unwrap().path());
        for room in
            rooms.filter(|path| path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("main.rs"))
        {
            let line = format!("\nmod {};\n", room.file_stem().unwrap().to_string_lossy());
            assert!(entered.contains(&line), "no test of {} runs: its line is missing in main.rs", room.display());
        }
    }
}
