//! The worlds are the one thing that deployed processors depend on, so their text is pinned.

/// Who changes a world on purpose gives it a new version, keeps the host able to run the old one, and pins the new text here.
#[test]
fn the_world_is_what_deployed_processors_know() {
    let world = include_str!("../wit/processor.wit");
    assert_eq!(world, include_str!("processor-0.1.0.wit"));
    let batch_world = include_str!("../wit/batch-processor.wit");
    assert_eq!(batch_world, include_str!("batch-processor-0.1.0.wit"));
}
