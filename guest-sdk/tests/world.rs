//! The worlds are the only interface that deployed processors depend on, so their text is pinned.

/// Pins the text. To change a world on purpose, give it a new version, keep the host able to run the old one, and pin
/// the new text here.
#[test]
fn the_world_is_what_deployed_processors_know() {
    let world = include_str!("../wit/processor.wit");
    assert_eq!(world, include_str!("processor-0.1.0.wit"));
    let batch_world = include_str!("../wit/batch-processor.wit");
    assert_eq!(batch_world, include_str!("batch-processor-0.1.0.wit"));
    let job_world = include_str!("../wit/job-processor.wit");
    assert_eq!(job_world, include_str!("job-processor-0.1.0.wit"));
    let streaming_world = include_str!("../wit/streaming-processor.wit");
    assert_eq!(streaming_world, include_str!("streaming-processor-0.1.0.wit"));
}
