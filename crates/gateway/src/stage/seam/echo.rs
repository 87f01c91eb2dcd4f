//! A model that is asked to go on may repeat what it has said; the client must not read it twice.

/// An echo has so many bytes at least: fewer may be the model's own words.
const LEAST: usize = 16;
/// So far back from its end a text is searched for what is repeated, in bytes; and at its beginning.
const REACH: usize = 4096;

/// Finds the end of a text, or the whole of it, at the beginning of its continuation.
pub(super) struct Echo {
    said: String,
    /// What may be an echo, not told yet.
    held: String,
    is_over: bool,
}

impl Echo {
    pub(super) fn of(said: &str) -> Self {
        Self { said: said.to_owned(), held: String::new(), is_over: said.len() < LEAST }
    }

    /// What is new of the next piece of the continuation; `None` while that is not clear.
    pub(super) fn take(&mut self, piece: String) -> Option<String> {
        if self.is_over {
            return Some(piece);
        }
        self.held.push_str(&piece);
        if self.tails().any(|tail| tail.starts_with(self.held.as_str())) {
            return None;
        }
        self.rest()
    }

    /// What of the text held back is new, now that it cannot become an echo any more.
    pub(super) fn rest(&mut self) -> Option<String> {
        if std::mem::replace(&mut self.is_over, true) {
            return None;
        }
        let repeated = self.tails().find(|tail| self.held.starts_with(tail)).map_or(0, str::len);
        let news = self.held.split_off(repeated);
        (!news.is_empty()).then_some(news)
    }

    /// The ends of the text that count as an echo, the longest first.
    fn tails(&self) -> impl Iterator<Item = &str> {
        let said = self.said.as_str();
        let near = said.len().saturating_sub(REACH)..=said.len().saturating_sub(LEAST);
        let starts = std::iter::once(0).chain(near.filter(|start| *start > 0));
        starts.filter_map(|start| said.get(start..))
    }
}
