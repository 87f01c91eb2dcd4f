//! Reads plain scalars as PyYAML's safe loader does (YAML 1.1), because existing files rely on it.
//!
//! Source: PyYAML `resolver.py`: `yes`/`on` are booleans, `010` is octal, `1:30` is sexagesimal, `1e5` is
//! text (a float needs a dot), and so on.

use crate::node::Value;

/// The value of a plain (unquoted, untagged) scalar.
pub(crate) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Value::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    if !text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.')) {
        return Value::Text(text.to_owned());
    }
    int(text).or_else(|| float(text)).unwrap_or_else(|| Value::Text(text.to_owned()))
}

fn sign_of(text: &str) -> (i128, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    }
}

fn int(text: &str) -> Option<Value> {
    let (sign, body) = sign_of(text);
    let digits = body.replace('_', "");
    let radix = |prefix: &str, radix: u32| {
        let rest = digits.strip_prefix(prefix)?;
        rest.chars().all(|c| c.is_digit(radix)).then(|| i128::from_str_radix(rest, radix).ok())?
    };
    let number = if digits.starts_with("0b") {
        radix("0b", 2)
    } else if digits.starts_with("0x") {
        radix("0x", 16)
    } else if digits == "0" {
        Some(0)
    } else if digits.starts_with('0') {
        radix("0", 8)
    } else if body.contains(':') {
        sexagesimal(&digits)
    } else if body.starts_with(|c: char| c.is_ascii_digit()) && digits.bytes().all(|b| b.is_ascii_digit()) {
        digits.parse().ok()
    } else {
        None
    };
    number.map(|number| Value::Int(sign * number))
}

/// `1:30` is 90: groups after the first count 0 to 59.
fn sexagesimal(digits: &str) -> Option<i128> {
    let mut groups = digits.split(':');
    let first: i128 = groups.next().filter(|group| is_digits(group))?.parse().ok()?;
    groups.try_fold(first, |total, group| {
        let value: i128 = Some(group).filter(|group| is_digits(group) && group.len() <= 2)?.parse().ok()?;
        (value < 60).then(|| total.checked_mul(60)?.checked_add(value))?
    })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn float(text: &str) -> Option<Value> {
    let (sign, body) = sign_of(text);
    let minus = if sign < 0 { "-" } else { "" };
    match body {
        ".inf" | ".Inf" | ".INF" => return Some(Value::Float(format!("{minus}.inf"))),
        ".nan" | ".NaN" | ".NAN" if body.len() == text.len() => return Some(Value::Float(".nan".to_owned())),
        _ => {}
    }
    let (mantissa, exponent) = match body.find(['e', 'E']) {
        Some(at) => (&body[..at], Some(&body[at + 1..])),
        None => (body, None),
    };
    let (whole, fraction) = mantissa.split_once('.')?;
    let clean = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let starts_well = if whole.is_empty() {
        sign > 0 && body.len() == text.len() && fraction.starts_with(|c: char| c.is_ascii_digit())
    } else {
        whole.starts_with(|c: char| c.is_ascii_digit())
    };
    // YAML 1.1 wants a sign in the exponent: `1.0e5` is text, `1.0e+5` a number.
    let exponent_fits = exponent.is_none_or(|e| e.starts_with(['+', '-']) && is_digits(&e[1..]));
    if !(starts_well && clean(whole) && clean(fraction) && exponent_fits) {
        return None;
    }
    Some(Value::Float(format!("{minus}{}", body.replace('_', ""))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_read_as_pyyaml_reads_them() {
        let show = |text: &str| match resolve(text) {
            Value::Null => "null".to_owned(),
            Value::Bool(flag) => format!("bool {flag}"),
            Value::Int(number) => format!("int {number}"),
            Value::Float(text) => format!("float {text}"),
            Value::Text(text) => format!("text {text}"),
            Value::List(_) | Value::Map(_) => String::new(),
        };
        for (text, meaning) in [
            ("~", "null"),
            ("", "null"),
            ("nULL", "text nULL"),
            ("Yes", "bool true"),
            ("off", "bool false"),
            ("y", "text y"),
            ("1_000", "int 1000"),
            ("-0x1F", "int -31"),
            ("0b101", "int 5"),
            ("010", "int 8"),
            ("08", "text 08"),
            ("0o17", "text 0o17"),
            ("1:30", "int 90"),
            ("01:30", "text 01:30"),
            ("1:99", "text 1:99"),
            ("+7", "int 7"),
            ("-", "text -"),
            ("1.", "float 1."),
            (".5", "float .5"),
            ("-.5", "text -.5"),
            ("1e5", "text 1e5"),
            ("1.0e5", "text 1.0e5"),
            ("1.0e+5", "float 1.0e+5"),
            ("1_0.2_5", "float 10.25"),
            ("1.2.3", "text 1.2.3"),
            ("-.INF", "float -.inf"),
            (".nan", "float .nan"),
            ("-.nan", "text -.nan"),
            ("2024-02-01", "text 2024-02-01"),
            ("127.0.0.1", "text 127.0.0.1"),
            ("170141183460469231731687303715884105728", "text 170141183460469231731687303715884105728"),
        ] {
            assert_eq!(show(text), meaning, "{text}");
        }
    }
}
