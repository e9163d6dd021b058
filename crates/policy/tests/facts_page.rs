//! `docs/reference/facts.md` is made from the schema: whoever changes one changes the other.

use policy::cel::Schema;

const PAGE: &str = include_str!("../../../docs/reference/facts.md");

#[test]
fn the_page_of_facts_is_the_schema() {
    let mut table = String::from("| fact | type | meaning |\n|---|---|---|\n");
    let schema = Schema::facts();
    for field in schema.fields() {
        table += &format!("| `{}` | `{}` | {} |\n", field.path(), field.field_type(), field.doc());
    }
    if std::env::var_os("LOCKGATE_BLESS").is_some() {
        let head = PAGE.split("| fact |").next().unwrap();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/facts.md");
        std::fs::write(path, format!("{head}{table}")).unwrap();
        return;
    }
    assert!(PAGE.ends_with(&table), "docs/reference/facts.md differs; the table is\n{table}");
}
