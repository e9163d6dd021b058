//! Scenario files: what is read and written again is the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resources::read_scenario;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok((scenario, set)) = read_scenario("a.yaml", text) else { return };
    let yaml = serde_saphyr::to_string(&scenario).expect("it can be written");
    let (again, same) =
        read_scenario("a.yaml", &yaml).unwrap_or_else(|problems| panic!("{problems}\n{yaml}"));
    assert_eq!(scenario, again);
    assert_eq!(set.revision(), same.revision());
});
