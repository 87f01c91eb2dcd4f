//! A storm of made-up keys.

use std::sync::Arc;
use std::sync::mpsc::channel;

use arc_swap::ArcSwap;
use faregate::adapters::known_keys::KnownKeys;
use faregate::adapters::principal::{Rules, StoreSource};
use faregate_config::Snapshot;
use faregate_gateway::ports::PrincipalSource;
use faregate_state::clock::SystemClock;
use faregate_store::{Settings, Store, VirtualKey};
use faregate_terms::{KeyHash, UtcMillis};
use tokio::runtime::Handle;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_made_up_keys_are_refused_without_asking_the_database_for_more_than_a_few() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::connect(&Settings::sqlite(folder.path().join("db"))).await.unwrap();
    let now = UtcMillis::from_millis(1_700_000_000_000);
    store.migrate(now).await.unwrap();
    let real = KeyHash::of("sk-real");
    store.insert(&VirtualKey { token: real.to_string(), ..VirtualKey::default() }, now).await.unwrap();
    let known = Arc::new(KnownKeys::default());
    known.add(store.key_hashes().await.unwrap());
    let rules = Arc::new(ArcSwap::from_pointee(Rules::of(&Snapshot::default())));
    let clock = Arc::new(SystemClock::new());
    let source = StoreSource::new(store.clone(), Handle::current(), clock, rules, known);
    let ask = |hash: KeyHash| {
        let (send, receive) = channel();
        source.key(hash, Box::new(move |outcome| drop(send.send(outcome.map(|found| found.is_some())))));
        receive
    };
    assert_eq!(ask(real).recv().unwrap(), Ok(true));
    // From here on whoever is asked for says so.
    store.close().await;
    let made_up: Vec<_> = (0..10_000).map(|number| ask(KeyHash::of(&format!("sk-{number}")))).collect();
    let (mut asked, mut refused) = (0, 0);
    for answer in made_up {
        match answer.recv().unwrap() {
            Ok(false) => refused += 1,
            Ok(true) => panic!("there is no such key"),
            Err(_) => asked += 1,
        }
    }
    // A slow machine may need more than the one second that these are for.
    assert!((1..=500).contains(&asked) && refused >= 9_500, "{asked} asked for, {refused} refused");
    assert!(ask(real).recv().unwrap().is_err(), "a real key is looked up at once");
}
