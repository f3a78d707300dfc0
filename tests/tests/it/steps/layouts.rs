//! Layouts, ranges, and the time that an invocation has.

use super::*;

#[tokio::test]
async fn the_layout_in_flight_outlives_a_changed_setting() {
    let mut world = World::over_tls().await;
    world.put("film", 1, 40 * MIB);
    let first = large(&world, "film", "one").await;
    let range = RangeWork { range: PartRange { first: 1, last: 2 }, ..ranges(&first).remove(0) };
    copy_parts(&world.clients, &world.context(), range).await.unwrap();

    world.route.options.part_size = Some(12 * MIB);
    let request = Request { route: Some(world.route.clone()), ..world.request(&["film"]) };
    let Some(ItemState::CopyParts(resumed)) = planned(&world, &request, "two").await.work.pop() else { panic!() };
    assert_eq!(resumed.object.layout, first.object.layout);
    assert_eq!(resumed.ranges, [PartRange { first: 3, last: 5 }]);
    copy_all(&world, &resumed).await;
    complete(&world.clients, &world.context(), *resumed).await.unwrap();
    world.assert_equal("film");
    assert_eq!(sent_parts(&world), 5);
}

#[tokio::test]
async fn rule_07_the_sources_layout_is_mirrored_and_both_etags_are_equal() {
    let world = World::new().await;
    let parts = [12, 12, 3].map(|mib| World::bytes(mib, mib * MIB).into()).to_vec();
    world.here.store().put_parts("departures", "film", parts);
    let large = large(&world, "film", "e").await;
    assert_eq!((large.object.layout.part_size(), large.object.layout.count()), (12 * MIB, 3));
    copy_all(&world, &large).await;
    complete(&world.clients, &world.context(), large).await.unwrap();
    let (here, there) =
        (world.here.store().object("departures", "film"), world.there.store().object("arrivals", "film"));
    assert_eq!(here.unwrap().etag, there.unwrap().etag);
    assert_eq!(world.record("film").await.unwrap().proof, Some(Proof::Checksum));
}

#[tokio::test]
async fn large_parts_are_streamed_and_still_proven() {
    let world = World::new().await;
    let parts = [72, 70].map(|mib| World::bytes(mib, mib * MIB).into()).to_vec();
    world.here.store().put_parts("departures", "film", parts);
    let large = large(&world, "film", "e").await;
    assert_eq!(large.object.layout.part_size(), 72 * MIB);
    let flip = Fault::FlipRequest { at: 5 * MIB };
    world.there.faults().add(Rule::on("UploadPart").part(1).times(1).fails(flip));
    world.here.faults().add(Rule::on("GetObject").nth(3).fails(Fault::CutBody { after: MIB }));
    copy_all(&world, &large).await;
    complete(&world.clients, &world.context(), large).await.unwrap();
    world.assert_equal("film");
    assert_eq!(world.there.faults().counts().get("flipRequest"), Some(&1));
}

#[tokio::test]
async fn rule_18_out_of_time_is_no_error_and_what_remains_is_returned() {
    let world = World::new().await;
    world.put("film", 1, 80 * MIB);
    let large = large(&world, "film", "e").await;
    let whole = RangeWork { range: PartRange { first: 1, last: 10 }, ..ranges(&large).remove(0) };
    // No time for work: the first part is begun all the same, nothing after it.
    let state = copy_parts(&world.clients, &world.context_for(NO_TIME), whole.clone()).await.unwrap();
    let RangeState::CopyParts(next) = state else { panic!("{state:?}") };
    assert_eq!((next.rounds, next.idle, next.tally.parts), (1, 0, 1));
    assert_eq!(next.range, PartRange { first: 2, last: 10 });
    let state = copy_parts(&world.clients, &world.context(), *next).await.unwrap();
    let RangeState::Done(done) = state else { panic!("{state:?}") };
    assert_eq!(done.tally.parts, 10);

    for key in ["a", "b"] {
        world.put(key, 1, 10);
    }
    let work = planned(&world, &world.request(&["a", "b"]), "e").await;
    let state = copy_objects(&world.clients, &world.context_for(NO_TIME), batch(&work)).await.unwrap();
    let ItemState::CopyObjects(next) = state else { panic!("{state:?}") };
    assert!(matches!(&next.objects, BatchObjects::Inline(objects) if objects.len() == 2));
    let error = copy_objects(&world.clients, &world.context_for(NO_TIME), next).await.unwrap_err();
    assert_eq!(error.name, ErrorName::TooSlow);
}

#[tokio::test]
async fn an_object_has_no_more_ranges_than_functions_may_run() {
    let world = World::new().await;
    world.here.store().put_generated("departures", "film", 2_000 * MIB, None);
    let request =
        PlanRequest { request: serde_json::to_value(world.request(&["film"])).unwrap(), execution: "e".into() };
    for (copy_functions, most) in [(None, 40), (Some(3), 3)] {
        let clients = Clients { copy_functions, ..(*world.clients).clone() };
        let planned = plan(&clients, &world.context(), PlanInput::Plan(request.clone())).await.unwrap();
        let PlanOutput::Work(work) = planned else { panic!() };
        let ItemState::CopyParts(large) = &work.work[0] else { panic!("{work:?}") };
        assert!(large.ranges.len() <= most && large.ranges.len() > most / 2, "{} of {most}", large.ranges.len());
    }
}
