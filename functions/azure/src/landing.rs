//! The function `landing`: the buyer's way. Microsoft opens `GET …/azure/landing?token=…` in a new tab: the token is
//! resolved at once and never seen again. The buyer then signs in to Microsoft, without a word if the browser's session
//! there tells who it is (Microsoft: Build the landing page for your transactable SaaS offer); everything after that is
//! the provider-neutral pages.
//!
//! The token is not taken as proof of who the buyer is: an address can be sent on, or forced upon a browser. Whoever signs
//! in has to belong to the tenant that bought, or to the one it was bought for.

use bytes::Bytes;
use http::{Method, Request};
use tradepost::disposition::{Dispose, Disposition, chain};
use tradepost::landing::{Resolved, follow, register};
use tradepost::ledger::{Key, LedgerError, Provider};
use tradepost::person::PersonId;
use tradepost::retry::later;
use tradepost::subscription::SubscriptionKey;
use tradepost::web::buyer::{Arrival, Buyer as Shown, arrived, show};
use tradepost::web::page::Answer;
use tradepost::web::session::{Session, SigningIn, WaitingToken};
use tradepost::web::sign_in::SIGN_IN_LIFE;
use tradepost::web::text::Message;
use tradepost::web::waiting::{forgotten, place_kept, too_many_sign_ins, too_many_tokens};
use tradepost::web::{App, Visit, WebError, genuine, oversized};
use uuid::Uuid;

use crate::buyer::{Buyer, BuyerError, BuyerSignIn, Prompt};
use crate::fulfillment::Fulfillment;
use crate::fulfillment::error::ResolveError;
use crate::fulfillment::subscription::MarketplaceSubscription;
use crate::marketplace::standing;
use crate::notice::{account, terms};
use crate::secret::Secret;

/// No token Microsoft has been seen to send comes near this.
const LARGEST_TOKEN: usize = 8 * 1024;
/// The tenant of all personal accounts (Microsoft: Build the landing page for your transactable SaaS offer).
const PERSONAL: Uuid = Uuid::from_u128(0x9188_040d_6c67_4c5b_b112_36a3_04b6_6dad);
/// The sign-in under way is the marketplace's, not one of the vendor's methods.
const MICROSOFT: &str = "microsoft";

/// What the buyer's way is made from.
#[derive(Debug)]
pub struct Landing {
    /// The pages.
    pub app: App,
    /// The buyer's sign-in.
    pub buyer: BuyerSignIn,
}

/// How the browser gets to Microsoft's sign-in.
#[derive(Clone, Copy)]
enum Onward {
    /// At once and without a word.
    Silently,
    /// By our own page: browsers hold the redirects of a form to `form-action`, and Microsoft is another site.
    ByPage,
}

impl Landing {
    /// Answers what is the marketplace's own; nothing if it is any other page.
    pub async fn answer(&self, marketplace: &Fulfillment, request: &Request<Bytes>, visit: &Visit) -> Option<Answer> {
        let (get, post) = (*request.method() == Method::GET, *request.method() == Method::POST);
        let seen = get || *request.method() == Method::HEAD;
        let path = visit.path.trim_end_matches('/');
        if let Some(answer) = oversized(request, path) {
            return Some(answer);
        }
        let answer = match path {
            "/azure/landing" if get => Ok(self.arrive(marketplace, visit).await),
            // Whoever only looks whether the address works uses up no token.
            "/azure/landing" if seen => Ok(Answer::message(Message::OpenFromMarketplace)),
            "/azure/landing/retry" if post => Ok(self.retry(marketplace, request, visit).await),
            "/azure/buyer" if seen => show(&self.app, visit, None).await,
            "/azure/sign-in" if get => Ok(match (&visit.session.arrival, visit.parameter("another")) {
                (None, _) => Answer::redirect("/"),
                // Below the tenant that bought: who is only its guest is nobody of it anywhere else.
                (Some(arrival), Some(_)) => {
                    let tenant = arrival.accounts.iter().find_map(|account| Uuid::try_parse(account).ok());
                    self.begin(visit, visit.session.clone(), Prompt::ChooseAccount, tenant).await
                }
                (Some(_), None) => self.begin(visit, visit.session.clone(), Prompt::Usual, None).await,
            }),
            "/azure/leave" if post && genuine(request, visit) => Ok(leave(visit)),
            "/azure/leave" if post => Ok(Answer::message(Message::FormExpired)),
            "/azure/callback" if get => self.come_back(visit).await,
            "/azure/landing"
            | "/azure/landing/retry"
            | "/azure/buyer"
            | "/azure/sign-in"
            | "/azure/leave"
            | "/azure/callback" => Ok(Answer::message(Message::MethodNotAllowed)),
            _ => return None,
        };
        Some(answer.unwrap_or_else(|error| tradepost::web::failure(&error)))
    }

    /// A buyer arrives. It changes nothing but what this browser may link; linking is a deliberate press of a button.
    async fn arrive(&self, marketplace: &Fulfillment, visit: &Visit) -> Answer {
        let Some(token) = token(&visit.query) else {
            return Answer::message(Message::OpenFromMarketplace).called("no token");
        };
        if token.len() > LARGEST_TOKEN {
            return Answer::message(Message::TokenInvalid).called("token too long");
        }
        let waiting = WaitingToken { token, offer_type: None, since: visit.now };
        self.resolve(marketplace, visit, waiting, Onward::Silently).await
    }

    /// The buyer presses Try again.
    async fn retry(&self, marketplace: &Fulfillment, request: &Request<Bytes>, visit: &Visit) -> Answer {
        match visit.session.waiting.clone() {
            Some(waiting) if genuine(request, visit) => self.resolve(marketplace, visit, waiting, Onward::ByPage).await,
            Some(_) => Answer::message(Message::FormExpired),
            None => Answer::message(Message::PurchaseLost),
        }
    }

    async fn resolve(&self, marketplace: &Fulfillment, visit: &Visit, waiting: WaitingToken, onward: Onward) -> Answer {
        if let Some(wait) = self.app.limits.wait(visit.source, visit.now) {
            return too_many_tokens(&self.app, visit, waiting, wait);
        }
        let purchase = match marketplace.resolve(&Secret::new(waiting.token.clone())).await {
            Ok(purchase) => purchase,
            Err(ResolveError::NotAToken | ResolveError::NotValid) => {
                self.app.limits.failed(visit.source, visit.now);
                return forgotten(visit, Message::TokenInvalid);
            }
            Err(error @ ResolveError::Failed(_)) => {
                if error.disposition() == Disposition::Retry {
                    tracing::warn!(error = %chain(&error), "a landing has to wait");
                } else {
                    tracing::error!(error = %chain(&error), "landings cannot be resolved");
                }
                return place_kept(&self.app, visit, waiting);
            }
        };
        let resolved = resolved(&purchase);
        if self.app.policy.listing(Provider::Azure, &resolved.product).is_none() {
            tracing::error!(offer = %resolved.product, "a landing for an offer that is not one of the policy's listings");
            return forgotten(visit, Message::ProductUnknown);
        }
        let id = self.app.fresh_secret();
        let wake = match self.kept(&id, &resolved, visit).await {
            Ok(wake) => wake,
            Err(error) => {
                if error.disposition() == Disposition::Page {
                    tracing::error!(error = %chain(&error), "a landing cannot be stored");
                } else {
                    tracing::warn!(error = %chain(&error), "a landing has to wait");
                }
                return place_kept(&self.app, visit, waiting);
            }
        };
        // A person signed in in this browser stays so.
        let session = Session {
            arrival: Some(Arrival { registration: id, accounts: tenants(&purchase) }),
            person: visit.session.person.clone(),
            ask_who: visit.session.ask_who,
            csrf: self.app.fresh_secret(),
            ..Session::default()
        };
        let answer = match onward {
            Onward::Silently => self.begin(visit, session, Prompt::Silent, None).await,
            Onward::ByPage => Answer::redirect("/azure/buyer").with_session(session).called("landed"),
        };
        answer.waking(wake)
    }

    /// Keeps the landing, and what the marketplace has just said of a purchase that was known already.
    async fn kept(&self, id: &str, resolved: &Resolved, visit: &Visit) -> Result<Vec<Key>, LedgerError> {
        register(&self.app.ledger, id, resolved, visit.now).await?;
        follow(&self.app.ledger, &self.app.policy, id, resolved, visit.now).await
    }

    /// Sends the browser to Microsoft's sign-in, any account's or one tenant's.
    async fn begin(&self, visit: &Visit, session: Session, prompt: Prompt, tenant: Option<Uuid>) -> Answer {
        let under_way = SigningIn {
            method: tenant.map_or_else(|| MICROSOFT.to_owned(), |tenant| format!("{MICROSOFT}:{tenant}")),
            state: self.app.fresh_secret(),
            nonce: self.app.fresh_secret(),
            verifier: self.app.fresh_secret(),
            silent: matches!(prompt, Prompt::Silent),
            since: visit.now,
        };
        match self.buyer.begin(&under_way, prompt, tenant, visit.now).await {
            Ok(to) => {
                let session = Session { signing_in: Some(under_way), ..session };
                Answer::redirect(to).with_session(session).called("buyer's sign-in begun")
            }
            Err(error) => failed(&error).with_session(Session { signing_in: None, ..session }),
        }
    }

    /// The browser comes back from Microsoft.
    async fn come_back(&self, visit: &Visit) -> Result<Answer, WebError> {
        let session = &visit.session;
        let under_way = session.signing_in.clone().filter(|under_way| under_way.method.starts_with(MICROSOFT));
        let (Some(arrival), Some(under_way)) = (&session.arrival, under_way) else {
            // Back button or a second tab; or a browser that keeps no cookies.
            let known = session.registration.is_some() || session.person.is_some() || session.arrival.is_some();
            return Ok(if known { Answer::redirect("/") } else { Answer::message(Message::CookiesNeeded) });
        };
        if visit.parameter("state").as_ref() != Some(&under_way.state) {
            // Another tab's, or another site's doing: the sign-in under way goes on.
            return Ok(Answer::message(Message::BuyerSignInFailed));
        }
        let over = Session { signing_in: None, ..session.clone() };
        if under_way.silent && visit.parameter("error").is_some() {
            // Nobody is signed in there, or it cannot be told without asking.
            return Ok(Answer::redirect("/azure/buyer").with_session(over).called("buyer not known silently"));
        }
        let in_time = visit.now < later(under_way.since, SIGN_IN_LIFE);
        let (Some(code), true) = (visit.parameter("code"), in_time) else {
            return Ok(Answer::message(Message::BuyerSignInFailed).with_session(over));
        };
        if let Some(wait) = self.app.limits.wait(visit.source, visit.now) {
            return Ok(too_many_sign_ins(wait));
        }
        let tenant = under_way.method.split_once(':').and_then(|(_, tenant)| Uuid::try_parse(tenant).ok());
        let buyer = match self.buyer.redeem(&under_way, code, tenant, visit.now).await {
            Ok(buyer) => buyer,
            Err(error) => {
                if matches!(error.disposition(), Disposition::Done | Disposition::Reject) {
                    self.app.limits.failed(visit.source, visit.now);
                }
                return Ok(failed(&error).with_session(over));
            }
        };
        let shown = Shown { name: buyer.name.clone(), email: buyer.email.clone() };
        if !belongs(arrival, &buyer) {
            tracing::warn!("a buyer of another tenant than the purchase's");
            return Ok(show(&self.app, visit, Some(shown.shown().to_owned())).await?.with_session(over));
        }
        let who = PersonId { issuer: buyer.issuer, subject: buyer.object.to_string() };
        arrived(&self.app, visit, arrival, &who, shown).await
    }
}

/// "This is not my purchase": another site may have opened it here. The browser goes on without it.
fn leave(visit: &Visit) -> Answer {
    let session = Session { arrival: None, signing_in: None, ..visit.session.clone() };
    Answer::redirect("/").with_session(session).called("purchase left")
}

/// Whether a buyer is of a tenant that bought, or that it was bought for; anybody where Microsoft names none. All personal
/// accounts are of one tenant, so of them it has to be the very person.
fn belongs(arrival: &Arrival, buyer: &Buyer) -> bool {
    let is = |account: &str| arrival.accounts.iter().any(|known| known.eq_ignore_ascii_case(account));
    if buyer.tenant == PERSONAL {
        let email = buyer.email.as_ref().map(|email| format!("email:{email}"));
        return arrival.accounts.is_empty()
            || is(&format!("person:{}", buyer.object))
            || email.is_some_and(|email| is(&email));
    }
    arrival.accounts.is_empty() || is(&buyer.tenant.to_string())
}

/// The tenants of who uses it and who pays; of personal accounts who they are.
fn tenants(purchase: &MarketplaceSubscription) -> Vec<String> {
    let mut all = Vec::new();
    for party in [&purchase.beneficiary, &purchase.purchaser] {
        let Some(tenant) = &party.tenant else { continue };
        if Uuid::try_parse(tenant).ok() == Some(PERSONAL) {
            all.extend(party.object.as_ref().map(|object| format!("person:{object}")));
            all.extend(party.email.as_ref().map(|email| format!("email:{email}")));
        }
        all.push(tenant.clone());
    }
    all.dedup();
    all
}

fn failed(error: &BuyerError) -> Answer {
    match error.disposition() {
        Disposition::Retry => {
            tracing::warn!(error = %chain(error), "Entra does not answer");
            Answer::message(Message::SignInUnreachable)
        }
        Disposition::Done | Disposition::Reject => {
            tracing::warn!(error = %chain(error), "a buyer's sign-in was not proven");
            Answer::message(Message::BuyerSignInFailed)
        }
        Disposition::Page => {
            tracing::error!(error = %chain(error), "buyers cannot sign in");
            Answer::message(Message::OurFault)
        }
    }
}

/// The landing token of a query, percent-decoded exactly once. It is made of base64's letters: a `+` that nobody encoded,
/// or that a form's decoder on the way made a space, is meant as `+` (Microsoft: SaaS fulfillment Subscription APIs).
fn token(query: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("token="))?;
    let query = format!("token={}", value.replace('+', "%2B"));
    let (_, decoded) = url::form_urlencoded::parse(query.as_bytes()).next()?;
    Some(decoded.replace(' ', "+")).filter(|token| !token.is_empty())
}

/// The purchase behind a token, in no provider's words.
pub fn resolved(subscription: &MarketplaceSubscription) -> Resolved {
    Resolved {
        subscription: Some(SubscriptionKey::Azure { id: subscription.id.to_string() }),
        licence: None,
        licence_arn: None,
        product: subscription.offer.clone().unwrap_or_default(),
        account: account(subscription),
        free_trial: subscription.is_free_trial,
        standing: standing(&subscription.status),
        terms: Some(terms(subscription)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_decoded_exactly_once() {
        for (query, token_) in [
            ("token=ab%2Bcd%2Fef%3D%3D", Some("ab+cd/ef==")),
            ("token=ab+cd/ef==", Some("ab+cd/ef==")),
            ("token=ab%20cd", Some("ab+cd")),
            ("x=1&token=ab%2bcd&y=2", Some("ab+cd")),
            ("token=ab%252Bcd", Some("ab%2Bcd")),
            ("token=", None),
            ("Token=ab", None),
            ("", None),
            ("atoken=ab", None),
        ] {
            assert_eq!(token(query).as_deref(), token_, "{query}");
        }
    }
}
