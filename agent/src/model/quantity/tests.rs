//! Quantities: the vectors, and what they leave open.

use super::*;

/// The reference's answers, one JSON object a line.
const VECTORS: &str = include_str!("../../../../tests/vectors/quantities.jsonl");

#[test]
fn every_vector_is_reproduced() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (number, line) in VECTORS.lines().enumerate() {
        let vector: serde_json::Value = serde_json::from_str(line).unwrap();
        let input = vector["input"].as_str().unwrap();
        let got = Quantity::parse(input).map_or_else(
            |_| serde_json::json!({"error": true, "input": input}),
            |quantity| {
                serde_json::json!({
                    "input": input,
                    "value": quantity.value().to_string(),
                    "milli_value": quantity.milli_value().to_string(),
                    "canonical": Quantity::canonical(input).unwrap(),
                })
            },
        );
        if got != vector {
            wrong.push(format!("line {}: expected {vector}, got {got}", number + 1));
        }
        seen += 1;
    }
    assert!(seen > 200, "only {seen} vectors");
    assert!(
        wrong.is_empty(),
        "{} of {seen} wrong\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn q(text: &str) -> Quantity {
    Quantity::parse(text).unwrap()
}

#[test]
fn what_is_written_for_a_pod_is_what_is_meant() {
    assert_eq!(q("500m").milli_value(), 500);
    assert_eq!(q("0.5"), q("500m"));
    assert_eq!(q("1.5Gi").value(), 3 << 29);
    assert_eq!(q("64Mi").value(), 64 << 20);
    assert_eq!(q("1G"), q("1e9"));
}

#[test]
fn a_sum_is_exact_and_keeps_a_notation() {
    assert_eq!(q("100m").saturating_add(q("1")).to_string(), "1100m");
    assert_eq!(q("1Gi").saturating_add(q("512Mi")).to_string(), "1536Mi");
    assert_eq!(Quantity::default().saturating_add(q("1Gi")).to_string(), "1Gi");
    assert_eq!(q("1Gi").saturating_sub(q("1Gi")), Quantity::default());
    assert_eq!(q("1n").saturating_add(q("10E")).saturating_sub(q("10E")), q("1n"));
    assert!(q("1e400").saturating_add(q("1")) > q("10E"));
}

#[test]
fn order_follows_the_number() {
    let ascending = [
        "-1e400", "-1Gi", "-1", "-1n", "0", "1n", "999u", "1m", "1", "1Ki", "1M", "1Mi", "8Ei", "10E",
        "1e400", "1e401",
    ];
    for pair in ascending.windows(2) {
        assert!(q(pair[0]) < q(pair[1]), "{pair:?}");
        assert!(q(pair[1]) > q(pair[0]), "{pair:?}");
    }
}

#[test]
fn an_amount_beyond_64_bits_is_told_apart() {
    assert_eq!(q("9223372036854775807").checked_value(), Some(i64::MAX));
    assert_eq!(q("9223372036854775808").checked_value(), None);
    assert_eq!(q("12E").checked_value(), None);
    assert_eq!(q("9E").checked_milli_value(), None);
    assert_eq!(q("0e400").checked_value(), Some(0));
}

#[test]
fn corners_of_the_grammar() {
    for (text, canonical) in [
        (".", "0"),
        ("+", "0"),
        ("-", "0"),
        ("-0", "0"),
        ("e-3", "0"),
        ("0e-10", "0"),
        ("01", "01"),
        ("1e+3", "1e+3"),
        ("1024Ki", "1Mi"),
        ("1000", "1k"),
        ("-1500m", "-1500m"),
        ("-1000m", "-1"),
        ("12000E", "12e21"),
        ("1e-2147483648", "1e-9"),
        ("0.0001Ki", "102400u"),
        ("-0.1n", "-1n"),
        ("1.00000000000000000001", "1000000001n"),
        ("99999999999999999999.9999999999", "100E"),
    ] {
        assert_eq!(Quantity::canonical(text).as_deref(), Ok(canonical), "{text}");
    }
    for text in [
        "e",
        "e-10",
        "1e3.5",
        "1Kii",
        "1K",
        "1 ",
        "1e99999999999999999999",
        "1_000",
        "٣",
    ] {
        assert!(Quantity::parse(text).is_err(), "{text}");
    }
    assert!(matches!(
        Quantity::parse(&"7".repeat(60)),
        Err(QuantityError::TooPrecise { .. })
    ));
    assert!(Quantity::parse(&format!("1{}", "0".repeat(100_000))).is_ok());
}
