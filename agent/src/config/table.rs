//! The fields as a table, from the schema and the defaults, for the README.

use serde_json::{Map, Value};

use super::Config;

/// The table: field, default, meaning; fields of a field follow it as `field.part`.
#[must_use]
pub fn markdown_table() -> String {
    let schema = schemars::schema_for!(Config).to_value();
    // A configuration of plain values always serialises.
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    let mut table = String::from("| field | default | meaning |\n|---|---|---|\n");
    rows(&schema, &schema, &defaults, "", &mut table);
    table
}

fn rows(whole: &Value, schema: &Value, defaults: &Value, prefix: &str, table: &mut String) {
    let none = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&none);
    for (field, default) in defaults.as_object().unwrap_or(&none) {
        let property = &properties[field];
        let name = format!("{prefix}{field}");
        let meaning = property["description"].as_str().unwrap_or_default();
        // A paragraph of a doc comment has line ends that a table cell cannot have.
        let meaning = meaning.split_whitespace().collect::<Vec<_>>().join(" ");
        let inside = resolve(whole, property);
        // A map of the user's own keys is one value.
        let parts = default.is_object() && inside["properties"].is_object();
        let default_cell = if parts {
            String::new()
        } else {
            format!("`{}`", plain(default))
        };
        table.push_str(&format!("| `{name}` | {default_cell} | {meaning} |\n"));
        if parts {
            rows(whole, inside, default, &format!("{name}."), table);
        }
    }
}

/// The schema that a property refers to, or its own.
fn resolve<'s>(whole: &'s Value, property: &'s Value) -> &'s Value {
    property["$ref"]
        .as_str()
        .and_then(|reference| whole.pointer(reference.trim_start_matches('#')))
        .unwrap_or(property)
}

/// A value as one would write it in YAML.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entries: Vec<_> = entries
                .iter()
                .map(|(key, value)| format!("{key}: {}", plain(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        other => other.to_string(),
    }
}
