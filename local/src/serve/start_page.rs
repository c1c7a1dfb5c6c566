//! The start page: what is running, and what to try first.

use axum::response::Html;

use crate::stack::Stack;

pub(super) fn show(stack: &Stack) -> Html<String> {
    let at = stack.addresses();
    let product = stack
        .policy
        .listings
        .first()
        .map(|listing| (listing.code.as_str(), listing.title.as_str()))
        .unwrap_or_default();
    Html(format!(
        r#"<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark"><title>Tradepost, locally</title><style>body{{font:1rem/1.6 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}}small{{opacity:.7}}</style></head><body>
<h1>Tradepost, on this machine</h1>
<p>The real functions, an embedded DynamoDB, and simulations of everything around them. <small>Nothing here reaches a cloud; the marketplace and the vendor are simulated.</small></p>
<ul>
<li><a href="{aws}/">AWS Marketplace</a> <small>simulated</small>, where a buyer subscribes and cancels</li>
<li><a href="{vendor}/">The vendor's product</a> <small>simulated</small>: sign-in, deployments, billing; every password is <code>demo</code></li>
<li><a href="{tradepost}/">Tradepost's own pages</a></li>
<li><a href="/clock">The clock</a>: push it and see what comes due</li>
</ul>
<h2>Try this first</h2>
<ol>
<li>Open <a href="{aws}/product/{code}">{title}</a>, press View purchase options, then Subscribe.</li>
<li>Press Set up your account and sign in as <b>clean@demo.example</b>.</li>
<li>Press Link and watch the account being synced; it turns to linked when the marketplace's event arrives, about a minute after the purchase.</li>
<li>See Billing: the Payment Method is now the marketplace.</li>
<li>Back in Manage subscriptions, cancel. See on the vendor's Deployments page what was stopped and what was not.</li>
<li>Push the <a href="/clock">clock</a> by three days: nothing is deleted. One hour more: exactly the stopped ones are.</li>
</ol>
</body></html>"#,
        aws = at.aws,
        vendor = at.vendor,
        tradepost = at.tradepost,
        code = product.0,
        title = product.1,
    ))
}
