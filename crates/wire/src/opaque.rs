//! Carries a provider's opaque state through clients of another dialect.
//!
//! A signature means something to the family that issued it only. A client dialect with a place for such
//! state (Anthropic's `signature`, OpenAI responses' `encrypted_content`, Gemini's `thoughtSignature`) is
//! given the data with a tag that names the issuer; a tool call in a dialect without any place carries it
//! in its id. On the way back the tag tells whether the next provider may have it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::chat::{Family, Signature};

const TAG: &str = "fg1.";
const ID_MARK: &str = "__thought__";

/// The text a client of family `reader` gets for `signature`.
pub fn seal(signature: &Signature, reader: Family) -> String {
    if signature.family == reader {
        return signature.data.clone();
    }
    format!("{TAG}{}.{}", letter(signature.family), signature.data)
}

/// Reads what a client of family `reader` sent back.
pub fn open(text: &str, reader: Family) -> Signature {
    let tagged = text.strip_prefix(TAG).and_then(|rest| {
        let (family, data) = rest.split_once('.')?;
        Some(Signature { family: family_of(family)?, data: data.to_owned() })
    });
    tagged.unwrap_or_else(|| Signature { family: reader, data: text.to_owned() })
}

/// A tool call's id that carries `signature` through a dialect with no other place for it.
///
/// Source: LiteLLM puts Gemini's `thoughtSignature` behind the same mark.
pub fn seal_id(id: &str, signature: Option<&Signature>) -> String {
    match signature {
        Some(signature) => {
            let tagged = format!("{}.{}", letter(signature.family), signature.data);
            format!("{id}{ID_MARK}{}", URL_SAFE_NO_PAD.encode(tagged))
        }
        None => id.to_owned(),
    }
}

/// Splits such an id into the plain id and the state.
pub fn open_id(id: &str) -> (String, Option<Signature>) {
    let Some((plain, sealed)) = id.split_once(ID_MARK) else {
        return (id.to_owned(), None);
    };
    let signature =
        URL_SAFE_NO_PAD.decode(sealed).ok().and_then(|bytes| String::from_utf8(bytes).ok()).and_then(
            |text| {
                let (family, data) = text.split_once('.')?;
                Some(Signature { family: family_of(family)?, data: data.to_owned() })
            },
        );
    (plain.to_owned(), signature)
}

fn letter(family: Family) -> &'static str {
    match family {
        Family::OpenAi => "o",
        Family::Responses => "r",
        Family::Anthropic => "a",
        Family::Gemini => "g",
        Family::Bedrock => "b",
        Family::Cohere => "c",
        Family::Ollama => "l",
    }
}

fn family_of(letter: &str) -> Option<Family> {
    Some(match letter {
        "o" => Family::OpenAi,
        "r" => Family::Responses,
        "a" => Family::Anthropic,
        "g" => Family::Gemini,
        "b" => Family::Bedrock,
        "c" => Family::Cohere,
        "l" => Family::Ollama,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_of_another_family_comes_back_with_its_owner() {
        let state = Signature { family: Family::Gemini, data: "ab.c+/=".to_owned() };
        assert_eq!(open(&seal(&state, Family::Anthropic), Family::Anthropic), state);
        assert_eq!(open(&seal(&state, Family::Gemini), Family::Gemini), state);
        let (id, back) = open_id(&seal_id("call_1", Some(&state)));
        assert_eq!((id.as_str(), back), ("call_1", Some(state)));
    }

    #[test]
    fn an_id_without_state_is_left_alone() {
        assert_eq!(open_id("call_1"), ("call_1".to_owned(), None));
        assert_eq!(open_id("call_1__thought__%%%"), ("call_1".to_owned(), None));
    }
}
