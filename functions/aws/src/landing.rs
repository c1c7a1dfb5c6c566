//! The function `landing`: the buyer's way. `POST /aws/landing` is where AWS Marketplace sends the browser with a
//! token: it is resolved at once, answered with an encrypted cookie and a 303, and never seen again. Everything else
//! is the provider-neutral pages.
//!
//! When resolving fails for a passing reason the token waits in the encrypted cookie, at most an hour, and is tried
//! again by a POST of our own page; the buyer need not go back.

use std::future::{Future, ready};
use std::pin::Pin;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use jiff::Timestamp;
use lambda_http::request::RequestContext;
use lambda_http::{Body, IntoResponse, RequestExt as _};
use tradepost::disposition::{Dispose, Disposition, chain};
use tradepost::landing::register;
use tradepost::web::limits::Source;
use tradepost::web::page::Answer;
use tradepost::web::session::{Session, WaitingToken};
use tradepost::web::text::Message;
use tradepost::web::waiting::{forgotten, place_kept, too_many_tokens};
use tradepost::web::{App, Reply, Visit, failure, genuine, oversized, told_path, vendor_api};

use crate::marketplace::{AwsMarketplace, ResolveError, reach, resolve};
use crate::queue::WorkQueue;
use crate::sns::Sns;

const TOKEN_FIELD: &str = "x-amzn-marketplace-token";
const OFFER_TYPE_FIELD: &str = "x-amzn-marketplace-offer-type";
/// No token AWS has been seen to send comes near this.
const LARGEST_TOKEN: usize = 8 * 1024;

/// What the function is made from.
#[derive(Debug)]
pub struct Landing {
    /// The pages.
    pub app: App,
    /// ResolveCustomer.
    pub metering: aws_sdk_marketplacemetering::Client,
    /// How a purchase from before stands, when the vendor brings it along.
    pub marketplace: AwsMarketplace,
    /// The door for SNS over HTTPS.
    pub sns: Sns,
    /// Wakes the worker.
    pub queue: WorkQueue,
}

impl Landing {
    /// Answers one request. Never fails: every problem is a page that says what to do.
    pub async fn handle(&self, request: lambda_http::Request, now: Timestamp) -> Response<Bytes> {
        let path = request.raw_http_path().to_owned();
        let source = source(&request);
        let mut request = plain(request);
        if let Some(source) = source {
            request.extensions_mut().insert(source);
        }
        let reply = self.answer(&request, now).await;
        tracing::info!(method = %request.method(), path = told_path(&path), status = reply.response.status().as_u16(), outcome = reply.outcome, "page");
        self.queue.wake(&reply.wake).await;
        reply.response
    }

    async fn answer(&self, request: &Request<Bytes>, now: Timestamp) -> Reply {
        let visit = self.app.visit(request, now);
        let posted = *request.method() == Method::POST;
        let path = visit.path.trim_end_matches('/');
        // The door for SNS has a limit of its own.
        if path != "/aws/sns"
            && let Some(answer) = oversized(request, path)
        {
            return self.app.reply(&visit, answer);
        }
        match (visit.path.trim_end_matches('/'), posted) {
            ("/health", _) if matches!(*request.method(), Method::GET | Method::HEAD) => {
                let answer = self.app.health.answer(&self.app.ledger, reach(&self.metering), now).await;
                self.app.reply(&visit, answer)
            }
            ("/aws/landing", false) => self.app.reply(&visit, Answer::message(Message::OpenFromMarketplace)),
            ("/aws/landing", true) => {
                let answer = self.arrive(request, &visit).await;
                self.app.reply(&visit, answer)
            }
            ("/aws/landing/retry", true) => {
                let answer = self.retry(request, &visit).await;
                self.app.reply(&visit, answer)
            }
            ("/v1/adoption", _) => {
                let answer = vendor_api::adopt(&self.app, &self.marketplace, request, now).await;
                self.app.reply(&visit, answer.unwrap_or_else(|error| failure(&error)))
            }
            ("/aws/sns", _) => {
                let answer = self.sns.answer(&self.app.ledger, request, now).await;
                self.app.reply(&visit, answer)
            }
            _ => self.app.handle(request, now).await,
        }
    }

    /// A buyer arrives. The POST is cross-site, so it carries neither our cookie nor a CSRF token; it changes nothing
    /// but what this browser may link, and linking is a deliberate press of a button later.
    async fn arrive(&self, request: &Request<Bytes>, visit: &Visit) -> Answer {
        let form = Form::read(request).await;
        let Some(token) = form.token else { return Answer::message(Message::OpenFromMarketplace).called("no token") };
        if token.len() > LARGEST_TOKEN {
            return Answer::message(Message::TokenInvalid).called("token too long");
        }
        // The next page tells by the mark whether the browser keeps our cookie.
        self.resolve(visit, WaitingToken { token, offer_type: form.offer_type, since: visit.now }, "/?landed=1").await
    }

    /// The buyer presses Try again.
    async fn retry(&self, request: &Request<Bytes>, visit: &Visit) -> Answer {
        match visit.session.waiting.clone() {
            // To the sign-in's own page and no further: browsers hold the redirects of a form to `form-action`, and the
            // identity provider is another site.
            Some(waiting) if genuine(request, visit) => {
                let next = if visit.session.person.is_some() { "/" } else { "/sign-in?ask=1" };
                self.resolve(visit, waiting, next).await
            }
            Some(_) => Answer::message(Message::FormExpired),
            None => Answer::message(Message::PurchaseLost),
        }
    }

    /// A token that is of no use. It counts against where it came from.
    fn in_vain(&self, visit: &Visit, message: Message) -> Answer {
        self.app.limits.failed(visit.source, visit.now);
        forgotten(visit, message)
    }

    async fn resolve(&self, visit: &Visit, waiting: WaitingToken, next: &str) -> Answer {
        if let Some(wait) = self.app.limits.wait(visit.source, visit.now) {
            return too_many_tokens(&self.app, visit, waiting, wait);
        }
        let free_trial = waiting.offer_type.as_deref() == Some("free-trial");
        let resolved = match resolve(&self.metering, &self.app.policy, &waiting.token, free_trial).await {
            Ok(resolved) => resolved,
            Err(ResolveError::Expired) => return self.in_vain(visit, Message::TokenExpired),
            Err(ResolveError::Invalid) => return self.in_vain(visit, Message::TokenInvalid),
            Err(error @ ResolveError::ProductUnknown(_)) => {
                tracing::error!(error = %error, "a landing for a product that is not ours");
                return forgotten(visit, Message::ProductUnknown);
            }
            Err(error @ ResolveError::Unavailable(_)) => {
                tracing::warn!(error = %error, "a landing has to wait");
                return place_kept(&self.app, visit, waiting);
            }
            Err(error @ ResolveError::Refused(_)) => {
                tracing::error!(error = %error, "landings cannot be resolved");
                return place_kept(&self.app, visit, waiting);
            }
        };
        let id = self.app.fresh_secret();
        match register(&self.app.ledger, &id, &resolved, visit.now).await {
            Ok(_) => {
                // A person signed in in this browser stays so (the cookie is there only on a retry).
                let person = visit.session.person.clone();
                let session =
                    Session { registration: Some(id), person, csrf: self.app.fresh_secret(), ..Session::default() };
                Answer::redirect(next).with_session(session).called("landed")
            }
            Err(error) => {
                if error.disposition() == Disposition::Page {
                    tracing::error!(error = %chain(&error), "a landing cannot be stored");
                } else {
                    tracing::warn!(error = %chain(&error), "a landing has to wait");
                }
                place_kept(&self.app, visit, waiting)
            }
        }
    }
}

/// Where a request comes from, by what the API saw.
fn source(request: &lambda_http::Request) -> Option<Source> {
    match request.request_context_ref()? {
        RequestContext::ApiGatewayV2(context) => Source::read(context.http.source_ip.as_deref()?),
        _ => None,
    }
}

/// The fields of the landing form.
#[derive(Default)]
struct Form {
    token: Option<String>,
    offer_type: Option<String>,
}

impl Form {
    /// Reads a form, URL-encoded or multipart. What does not read counts as empty.
    async fn read(request: &Request<Bytes>) -> Self {
        let kind =
            request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut form = Self::default();
        if let Ok(boundary) = multer::parse_boundary(kind) {
            let mut parts = multer::Multipart::with_reader(request.body().as_ref(), boundary);
            while let Ok(Some(part)) = parts.next_field().await {
                let name = part.name().unwrap_or_default().to_owned();
                form.take(&name, text(&part.bytes().await.unwrap_or_default()));
            }
            return form;
        }
        for (name, value) in url::form_urlencoded::parse(request.body()) {
            form.take(&name, value.into_owned());
        }
        form
    }

    /// The first of each counts.
    fn take(&mut self, name: &str, value: String) {
        let value = Some(value).filter(|value| !value.is_empty());
        match name {
            TOKEN_FIELD if self.token.is_none() => self.token = value,
            OFFER_TYPE_FIELD if self.offer_type.is_none() => self.offer_type = value.filter(|value| value.len() <= 64),
            _ => {}
        }
    }
}

/// An answer in Lambda's envelope. All of ours is UTF-8; nothing asks for another character set, so that no function
/// carries the tables of all of them.
#[derive(Debug)]
pub struct Enveloped(pub Response<Bytes>);

impl IntoResponse for Enveloped {
    fn into_response(self) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(ready(self.0.map(|body| Body::Text(text(&body)))))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A request without Lambda's envelope.
fn plain(request: lambda_http::Request) -> Request<Bytes> {
    request.map(|body| match body {
        Body::Empty => Bytes::new(),
        Body::Text(text) => Bytes::from(text),
        Body::Binary(bytes) => Bytes::from(bytes),
        _ => Bytes::new(),
    })
}
