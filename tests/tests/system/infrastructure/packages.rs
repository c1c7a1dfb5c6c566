//! What is built is what is deployed: each function of the template has its zip, and each zip its binary.

use std::collections::BTreeSet;
use std::path::Path;

use super::{TEMPLATE, between, of_kind, section};

const PACKAGE: &str = include_str!("../../../../infra/package.py");

#[test]
fn every_function_has_its_zip_and_every_zip_its_binary() {
    let named: BTreeSet<&str> = between(PACKAGE, "FUNCTIONS = (", ")").split('"').skip(1).step_by(2).collect();
    let resources = section(TEMPLATE, "Resources");
    let mut deployed = BTreeSet::new();
    for (name, block) in of_kind(&resources, "AWS::Serverless::Function") {
        let zip = between(block, "CodeUri: target/packages/aws/", ".zip\n");
        assert_eq!(zip, name.to_lowercase());
        deployed.insert(zip.to_owned());
    }
    assert_eq!(deployed, named.iter().map(|name| (*name).to_owned()).collect());
    let binaries = Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions/aws/src/bin");
    let built = std::fs::read_dir(binaries).unwrap().map(|file| file.unwrap().path());
    let built: BTreeSet<String> = built.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(deployed, built);
}
