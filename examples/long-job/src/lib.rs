//! Renders a picture of the Mandelbrot set, tile by tile, and answers with a PNG file.
//!
//! It reports its progress after each tile. About once a second it keeps the finished tiles, so that another delivery of
//! the same item goes on with the next one.

mod options;
mod picture;
mod png;

use std::thread;
use std::time::{Duration, Instant};

use bulkhead_guest::{Error, Level, Model, Processor, Request, Response, job, log};

use crate::options::Options;
use crate::picture::Picture;

/// The time between two partial results.
const KEEP_EVERY: Duration = Duration::from_secs(1);

struct LongJob;

impl Processor for LongJob {
    fn initialize(_model: &Model) -> Result<Self, Error> {
        Ok(Self)
    }

    fn process(&mut self, request: Request) -> Result<Response, Error> {
        let options = Options::parse(&request.body).map_err(|mistake| Error::new(422, mistake))?;
        let kept = job::partial().and_then(|kept| Picture::decode(options.view, &kept));
        let mut picture = kept.unwrap_or_else(|| Picture::new(options.view));
        let (total, found) = (options.view.tiles(), picture.finished());
        log(Level::Info, format_args!("delivery {} begins after {found} of {total} tiles", job::delivery()));

        let pause = options.at_least / total;
        let mut kept_at = Instant::now();
        while picture.finished() < total {
            picture.render_tile();
            let finished = picture.finished();
            job::report(f64::from(finished) / f64::from(total), format_args!("{finished} of {total} tiles"));
            if kept_at.elapsed() >= KEEP_EVERY {
                keep(&picture);
                kept_at = Instant::now();
            }
            thread::sleep(pause);
        }
        log(Level::Info, format_args!("delivery {} rendered {} tiles", job::delivery(), total - found));
        let file = png::encode(options.view.width, options.view.height, &picture.rows());
        Ok(Response::new(file).with_content_type("image/png"))
    }
}

/// Keeps the finished tiles. Without them, a further delivery renders these tiles again; that is no reason to stop.
fn keep(picture: &Picture) {
    if let Err(why) = job::keep_partial(&picture.encode()) {
        log(Level::Warn, format_args!("the finished tiles are not kept: {why}"));
    }
}

bulkhead_guest::export!(LongJob);

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"{"width": 200, "height": 130, "iterations": 50}"#;

    fn render(body: &str) -> Result<Response, Error> {
        LongJob::initialize(&Model::default())?.process(Request::post(body))
    }

    #[test]
    fn every_tile_is_reported() {
        let item = job::simulate(1, None);
        let response = render(SMALL).unwrap();
        assert_eq!(response.content_type.as_deref(), Some("image/png"));
        // 200 by 130 pixels are 4 by 3 tiles.
        let reports = item.reports();
        assert_eq!(reports.len(), 12);
        assert_eq!(reports[2], (0.25, "3 of 12 tiles".to_owned()));
        assert_eq!(reports[11].0, 1.0);
    }

    #[test]
    fn a_later_delivery_renders_only_what_is_missing_and_the_picture_is_the_same() {
        let whole = render(SMALL).unwrap();
        let view = Options::parse(SMALL.as_bytes()).unwrap().view;
        let mut begun = Picture::new(view);
        (0..5).for_each(|_| begun.render_tile());
        let item = job::simulate(2, Some(begun.encode()));
        assert_eq!(render(SMALL).unwrap(), whole);
        assert_eq!(item.reports().len(), 7);
        assert_eq!(item.reports()[0].1, "6 of 12 tiles");
    }

    #[test]
    fn the_tiles_of_another_picture_are_not_used() {
        let view = Options::parse(br#"{"width": 200, "height": 130, "iterations": 51}"#).unwrap().view;
        let mut other = Picture::new(view);
        other.render_tile();
        let item = job::simulate(2, Some(other.encode()));
        render(SMALL).unwrap();
        assert_eq!(item.reports().len(), 12);
    }

    #[test]
    fn what_cannot_be_kept_does_not_stop_the_work() {
        let _item = job::simulate(1, None).with_most_bytes(0);
        let slow = r#"{"width": 100, "height": 65, "iterations": 1, "seconds": 2}"#;
        assert_eq!(render(slow).unwrap().status, 200);
    }

    #[test]
    fn a_mistake_in_the_options_is_422() {
        let error = render(r#"{"width": 0}"#).unwrap_err();
        assert_eq!((error.status(), error.message()), (422, "width is 0; accepted is 1 to 2048"));
    }
}
