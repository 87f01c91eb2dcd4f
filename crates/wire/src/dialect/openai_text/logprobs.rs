//! Log probabilities of a chat in the older form: columns instead of rows.

use serde_json::{Map, Value, json};

/// The columns of `logprobs.content`, of tokens that begin at `offset` in the text; `null` if there are none. `offset`
/// is moved behind them.
pub(super) fn columns(rows: Option<&Value>, offset: &mut usize) -> Value {
    let Some(rows) = rows.and_then(|it| it.get("content")).and_then(Value::as_array) else {
        return Value::Null;
    };
    let (mut tokens, mut logprobs, mut tops, mut offsets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        let token = row["token"].as_str().unwrap_or_default();
        let top: Map<String, Value> = row["top_logprobs"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|other| Some((other["token"].as_str()?.to_owned(), other["logprob"].clone())))
            .collect();
        offsets.push(json!(*offset));
        *offset += token.chars().count();
        tokens.push(json!(token));
        logprobs.push(row["logprob"].clone());
        tops.push(Value::Object(top));
    }
    json!({ "tokens": tokens, "token_logprobs": logprobs, "top_logprobs": tops, "text_offset": offsets })
}

/// The same the other way round.
pub(super) fn rows(columns: &Value) -> Value {
    let list = |name: &str| columns[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let (logprobs, tops) = (list("token_logprobs"), list("top_logprobs"));
    let row = |(at, token): (usize, &Value)| {
        let top = tops.get(at).and_then(Value::as_object).into_iter().flatten();
        let top: Vec<Value> = top
            .map(|(token, logprob)| json!({ "token": token, "logprob": logprob, "bytes": null }))
            .collect();
        json!({
            "token": token, "logprob": logprobs.get(at).cloned().unwrap_or_default(), "bytes": null,
            "top_logprobs": top,
        })
    };
    json!({ "content": list("tokens").iter().enumerate().map(row).collect::<Vec<_>>() })
}
