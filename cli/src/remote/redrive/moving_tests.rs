#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Mutex;
use tokio::sync::Notify;

/// What befalls a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is answered.
    Well,
    /// It never arrives.
    Refused,
    /// It takes effect, and the reply is lost.
    LostReply,
    /// Every second entry is refused.
    Half,
    /// This process dies before it.
    DeathBefore,
    /// This process dies after it took effect.
    DeathAfter,
}

/// A message of the failed queue.
#[derive(Clone, Debug)]
struct Waiting {
    body: String,
    hidden: bool,
    receipts: u32,
}

#[derive(Debug, Default)]
struct Inside {
    failed: BTreeMap<String, Waiting>,
    queue: Vec<String>,
    fates: std::collections::VecDeque<Fate>,
    /// Delivers what is hidden as well, as a queue may.
    twice: bool,
}

/// Both queues in memory.
#[derive(Debug, Default)]
struct Fake {
    inside: Mutex<Inside>,
    died: Notify,
}

impl Fake {
    fn new(keys: &[&str]) -> Self {
        let fake = Self::default();
        for (number, key) in keys.iter().enumerate() {
            let name = if key.starts_with("slow") { "TooSlow" } else { "Rejected" };
            let body = match *key {
                "broken" => "{".to_owned(),
                _ => json!({"objects": [{"bucket": "b", "key": key}], "failure": {"name": name, "message": "m"}})
                    .to_string(),
            };
            let waiting = Waiting { body, hidden: false, receipts: 0 };
            fake.inside.lock().unwrap().failed.insert(format!("m{number:04}"), waiting);
        }
        fake
    }

    fn fated(self, fates: &[Fate]) -> Self {
        self.inside.lock().unwrap().fates = fates.iter().copied().collect();
        self
    }

    /// Does `act` as the next fate wants.
    async fn act<T>(&self, act: impl FnOnce(&mut Inside, Fate) -> T, count: usize) -> Result<(T, Answers), String> {
        let fate = self.inside.lock().unwrap().fates.pop_front().unwrap_or(Fate::Well);
        match fate {
            Fate::Refused => return Err("refused".into()),
            Fate::DeathBefore => return self.death().await,
            _ => {}
        }
        let done = act(&mut self.inside.lock().unwrap(), fate);
        match fate {
            Fate::LostReply => Err("the reply was lost".into()),
            Fate::DeathAfter => self.death().await,
            Fate::Half => {
                Ok((done, (0..count).map(|n| if n % 2 == 0 { Ok(()) } else { Err("busy".into()) }).collect()))
            }
            _ => Ok((done, vec![Ok(()); count])),
        }
    }

    async fn death<T>(&self) -> T {
        self.died.notify_one();
        std::future::pending().await
    }

    async fn each(&self, texts: &[&str], act: impl Fn(&mut Inside, &str)) -> Answers {
        let all = |inside: &mut Inside, fate: Fate| {
            let reached = texts.iter().enumerate().filter(|(number, _)| fate != Fate::Half || number % 2 == 0);
            reached.for_each(|(_, text)| act(inside, text));
        };
        match self.act(all, texts.len()).await {
            Ok((_, answers)) => answers,
            Err(reason) => vec![Err(reason); texts.len()],
        }
    }

    /// Keys on the queue with the number of times each is there, and ids that are left on the failed queue.
    fn state(&self) -> (BTreeMap<String, usize>, Vec<String>) {
        let inside = self.inside.lock().unwrap();
        let mut keys = BTreeMap::new();
        for body in &inside.queue {
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            *keys.entry(body["objects"][0]["key"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        (keys, inside.failed.keys().cloned().collect())
    }

    fn hidden(&self) -> usize {
        self.inside.lock().unwrap().failed.values().filter(|waiting| waiting.hidden).count()
    }

    /// Time passes: what was out of sight comes back.
    fn later(&self) {
        self.inside.lock().unwrap().failed.values_mut().for_each(|waiting| waiting.hidden = false);
    }
}

#[async_trait::async_trait]
impl Queues for Fake {
    async fn receive(&self) -> Result<Vec<Received>, String> {
        let taken = |inside: &mut Inside, _: Fate| {
            let twice = inside.twice;
            let visible = inside.failed.iter_mut().filter(|(_, waiting)| !waiting.hidden || twice);
            let taken = visible.take(BATCH_MAX).map(|(id, waiting)| {
                (waiting.hidden, waiting.receipts) = (true, waiting.receipts + 1);
                let receipt = format!("{id}/{}", waiting.receipts);
                Received { id: id.clone(), receipt, body: waiting.body.clone(), sent: None }
            });
            taken.collect::<Vec<_>>()
        };
        Ok(self.act(taken, 0).await?.0)
    }

    async fn send(&self, bodies: &[&str]) -> Answers {
        self.each(bodies, |inside, body| inside.queue.push(body.to_owned())).await
    }

    async fn delete(&self, receipts: &[&str]) -> Answers {
        self.each(receipts, |inside, receipt| {
            inside.failed.remove(receipt.split_once('/').unwrap().0);
        })
        .await
    }

    async fn release(&self, receipts: &[&str]) -> Answers {
        self.each(receipts, |inside, receipt| {
            if let Some(waiting) = inside.failed.get_mut(receipt.split_once('/').unwrap().0) {
                waiting.hidden = false;
            }
        })
        .await
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("k{number}")).collect()
}

fn fake(count: usize) -> Fake {
    let names = names(count);
    Fake::new(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// `None` if the process died on the way.
async fn moved(fake: &Fake, choice: &Choice) -> Option<Redriven> {
    tokio::select! {
        biased;
        () = fake.died.notified() => None,
        done = move_messages(fake, choice, false) => Some(done),
    }
}

#[tokio::test]
async fn every_message_is_moved_as_it_is() {
    let fake = fake(237);
    let before: Vec<String> = fake.inside.lock().unwrap().failed.values().map(|waiting| waiting.body.clone()).collect();
    let done = moved(&fake, &Choice::default()).await.unwrap();
    assert_eq!((done.sent, done.left, done.undeleted, done.unsent), (237, 0, 0, 0));
    assert_eq!(done.by_name, BTreeMap::from([("Rejected".into(), 237)]));
    let mut after = fake.inside.lock().unwrap().queue.clone();
    after.sort();
    let mut before = before;
    before.sort();
    assert_eq!(after, before);
    assert!(fake.state().1.is_empty());
}

#[tokio::test]
async fn what_is_not_chosen_stays_and_can_be_seen() {
    let choice = Choice { only: vec!["TooSlow".into()], ..Choice::default() };
    let fake = Fake::new(&["slow 1", "other", "broken", "slow 2"]);
    let done = moved(&fake, &choice).await.unwrap();
    assert_eq!((done.sent, done.left, done.unreadable), (2, 1, 1));
    let (queue, failed) = fake.state();
    assert_eq!(queue.keys().collect::<Vec<_>>(), ["slow 1", "slow 2"]);
    assert_eq!((failed, fake.hidden()), (vec!["m0001".into(), "m0002".into()], 0));
    assert!(done.reasons[0].contains("m0002"), "{:?}", done.reasons);
}

#[tokio::test]
async fn no_more_than_asked_are_moved() {
    let fake = fake(50);
    let done = moved(&fake, &Choice { most: Some(13), ..Choice::default() }).await.unwrap();
    assert_eq!(done.sent, 13);
    let (queue, failed) = fake.state();
    assert_eq!((queue.len(), failed.len(), fake.hidden()), (13, 37, 0));
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let fake = fake(25);
    let done = move_messages(&fake, &Choice::default(), true).await;
    assert_eq!((done.sent, done.dry_run), (25, true));
    let (queue, failed) = fake.state();
    assert_eq!((queue.len(), failed.len(), fake.hidden()), (0, 25, 0));
}

#[tokio::test]
async fn a_message_that_is_delivered_again_is_not_sent_again() {
    let fake = fake(9);
    fake.inside.lock().unwrap().twice = true;
    let done = moved(&fake, &Choice::default()).await.unwrap();
    let (queue, failed) = fake.state();
    assert_eq!((done.sent, failed.len()), (9, 0));
    assert!(queue.values().all(|times| *times == 1), "{queue:?}");
}

#[tokio::test]
async fn only_what_was_taken_is_deleted() {
    // Eight receives, then one send of ten of which five are refused.
    let mut fates = vec![Fate::Well; 8];
    fates.push(Fate::Half);
    let fake = fake(10).fated(&fates);
    let done = moved(&fake, &Choice::default()).await.unwrap();
    assert_eq!((done.sent, done.unsent, done.reasons.as_slice()), (5, 5, &["busy".to_owned()][..]));
    let (queue, failed) = fake.state();
    assert_eq!((queue.len(), failed.len(), fake.hidden()), (5, 5, 0));
}

#[tokio::test]
async fn what_could_not_be_deleted_is_tried_again_and_told() {
    let mut fates = vec![Fate::Well; 9];
    fates.push(Fate::Refused);
    let fake = fake(10).fated(&fates);
    let done = moved(&fake, &Choice::default()).await.unwrap();
    assert_eq!((done.sent, done.undeleted, fake.state().1.len()), (10, 0, 0));
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        12 => Just(Fate::Well),
        2 => Just(Fate::Refused),
        2 => Just(Fate::LostReply),
        2 => Just(Fate::Half),
        1 => Just(Fate::DeathBefore),
        1 => Just(Fate::DeathAfter),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn whatever_happens_no_message_is_lost(
        count in 0..60usize,
        fates in prop::collection::vec(fate(), 0..60),
        twice in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let fake = fake(count).fated(&fates);
        fake.inside.lock().unwrap().twice = twice;
        runtime.block_on(async {
            // Each of these may die or give up; fates run out in the end.
            for _ in 0..70 {
                let _ = moved(&fake, &Choice::default()).await;
                let (queue, failed) = fake.state();
                for (number, key) in names(count).iter().enumerate() {
                    let waits = failed.contains(&format!("m{number:04}"));
                    prop_assert!(waits || queue.contains_key(key), "{key} is lost");
                }
                fake.later();
                if failed.is_empty() {
                    break;
                }
            }
            prop_assert!(fake.state().1.is_empty(), "never moved");
            Ok(())
        })?;
    }
}
