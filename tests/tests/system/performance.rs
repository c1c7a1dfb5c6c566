//! The page of figures and the command that writes it belong together.

use system_tests::bench::document::with_section;
use system_tests::bench::{PAGE, Part, root};

#[test]
fn every_part_has_its_section_and_every_picture_is_there() {
    let page = std::fs::read_to_string(root().join(PAGE)).unwrap();
    for section in Part::ALL.map(Part::name).into_iter().chain(["machine"]) {
        with_section(&page, section, "").unwrap();
    }
    assert_eq!(page.matches("<!-- bench: ").count(), Part::ALL.len() + 1, "a section that no part writes");
    for picture in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter(|to| to.ends_with(".svg"))
    {
        assert!(root().join("docs").join(picture).is_file(), "{picture} is not there");
    }
}

#[test]
fn parts_are_found_by_their_names() {
    for part in Part::ALL {
        assert_eq!(Part::named(part.name()), Some(part));
    }
    assert_eq!(Part::named("everything"), None);
}
