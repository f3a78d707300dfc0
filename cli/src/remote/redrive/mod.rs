//! `redrive`: what failed is offered again.

pub mod choice;
pub mod moving;
pub mod of_run;
pub mod queues;

use super::deployment::Deployment;
use super::status::table;
use crate::args::redrive::RedriveArgs;
use crate::output::{print, tell};
use crate::sizes::count_text;
use choice::Choice;
use moving::{Redriven, move_messages};
use of_run::redrive_run;
use queues::SqsQueues;

/// Sends again what failed: the failed queue's messages, or the objects that a run's records name. The exit status.
pub async fn redrive(args: &RedriveArgs) -> Result<u8, String> {
    let deployment = Deployment::connect(&args.deployment).await?;
    let (queue, failed) = deployment
        .queues
        .clone()
        .ok_or("this state machine names no queues: it was deployed by an older release, so deploy this one first")?;
    let queues = SqsQueues { sqs: deployment.sqs.clone(), queue, failed };
    let choice = Choice::of(args);
    let (done, ended) = match &args.run {
        Some(name) => {
            let run = deployment.known_run(name).await?;
            redrive_run(&queues, deployment.work.as_ref(), &run, &choice, args.dry_run).await
        }
        None => (move_messages(&queues, &choice, args.dry_run).await, Ok(())),
    };
    if args.json {
        print(&serde_json::to_string(&done).map_err(|error| error.to_string())?);
    } else {
        print(&text(&done, args.run.as_deref()));
    }
    for reason in &done.reasons {
        tell(reason);
    }
    ended?;
    let well = done.unsent == 0 && done.undeleted == 0 && !done.broken_off;
    Ok(u8::from(!well))
}

fn text(done: &Redriven, run: Option<&str>) -> String {
    let head = match run {
        Some(run) => format!("failed objects of run {run}"),
        None => "messages of the failed queue".to_owned(),
    };
    let sent = if done.dry_run { "to send" } else { "sent" };
    let mut rows = vec![(sent, count_text(done.sent))];
    rows.extend(done.by_name.iter().map(|(name, count)| ("", format!("{} {name}", count_text(*count)))));
    for (name, count) in
        [("left", done.left), ("unreadable", done.unreadable), ("not sent", done.unsent), ("repeated", done.undeleted)]
    {
        if count > 0 {
            rows.push((name, count_text(count)));
        }
    }
    table(&head, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_are_told_by_name() {
        let mut done = Redriven { dry_run: true, left: 2, ..Redriven::default() };
        done.count("Rejected", 3);
        let expected = "messages of the failed queue\n  to send    3\n             3 Rejected\n  left       2";
        assert_eq!(text(&done, None), expected);
        assert!(text(&Redriven::default(), Some("r")).starts_with("failed objects of run r\n  sent       0"));
    }
}
