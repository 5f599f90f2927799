//! Answers with the request's body and content type.

use bulkhead_guest::{Error, Model, Processor, Request, Response};

struct Echo;

impl Processor for Echo {
    fn initialize(_model: &Model) -> Result<Self, Error> {
        Ok(Self)
    }

    fn process(&mut self, request: Request) -> Result<Response, Error> {
        let response = Response::new(request.body);
        Ok(match request.content_type {
            Some(content_type) => response.with_content_type(content_type),
            None => response,
        })
    }
}

bulkhead_guest::export!(Echo);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_comes_back_with_its_type() {
        let mut echo = Echo::initialize(&Model::default()).unwrap();
        let request = Request::post("{\"a\":1}").with_content_type("application/json");
        let response = echo.process(request).unwrap();
        assert_eq!(response.status, 200);
        assert_eq!(response.body, b"{\"a\":1}");
        assert_eq!(response.content_type.as_deref(), Some("application/json"));
    }

    #[test]
    fn no_type_stays_no_type() {
        let mut echo = Echo::initialize(&Model::default()).unwrap();
        let response = echo.process(Request::post([0, 255])).unwrap();
        assert_eq!(response.body, [0, 255]);
        assert_eq!(response.content_type, None);
    }
}
