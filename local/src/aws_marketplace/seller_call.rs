//! One call of a seller's backend, free of its wire form: who calls, which operation, and how it is refused.
//!
//! The caller is read from the signature's credential scope (it is not verified). As on other local clouds, an
//! access key of twelve digits names the calling account; any other key belongs to the publisher. The Region of
//! the scope counts: metered hours are deduplicated for each Region alone.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::Value;

use super::Desk;
use super::switches::use_one;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    ResolveCustomer,
    BatchMeterUsage,
    GetEntitlements,
    DescribeAgreement,
    GetAgreementTerms,
    SearchAgreements,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Metering,
    Entitlement,
    Agreement,
}

impl Operation {
    pub(super) fn find(service: &str, name: &str) -> Option<Self> {
        match (service, name) {
            ("AWSMPMeteringService", "ResolveCustomer") => Some(Self::ResolveCustomer),
            ("AWSMPMeteringService", "BatchMeterUsage") => Some(Self::BatchMeterUsage),
            ("AWSMPEntitlementService", "GetEntitlements") => Some(Self::GetEntitlements),
            ("AWSMPCommerceService_v20200301", "DescribeAgreement") => Some(Self::DescribeAgreement),
            ("AWSMPCommerceService_v20200301", "GetAgreementTerms") => Some(Self::GetAgreementTerms),
            ("AWSMPCommerceService_v20200301", "SearchAgreements") => Some(Self::SearchAgreements),
            _ => None,
        }
    }

    pub(super) fn service(self) -> Service {
        match self {
            Self::ResolveCustomer | Self::BatchMeterUsage => Service::Metering,
            Self::GetEntitlements => Service::Entitlement,
            Self::DescribeAgreement | Self::GetAgreementTerms | Self::SearchAgreements => Service::Agreement,
        }
    }

    /// The published quota, requests a second.
    pub(super) fn per_second(self) -> Option<u64> {
        match self {
            Self::BatchMeterUsage => Some(10),
            Self::GetEntitlements => Some(20),
            Self::ResolveCustomer | Self::DescribeAgreement | Self::GetAgreementTerms | Self::SearchAgreements => None,
        }
    }
}

/// A refusal, as the wire will say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
}

impl ApiError {
    pub(super) fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: 400, code, message: message.into() }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::refused("ValidationException", message)
    }

    pub(super) fn internal(service: Service) -> Self {
        let code = match service {
            Service::Metering | Service::Entitlement => "InternalServiceErrorException",
            Service::Agreement => "InternalServerException",
        };
        Self { status: 500, code, message: "An internal error has occurred. Retry your request.".to_owned() }
    }
}

/// Who calls, from where, and how large the request was.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub account: String,
    pub region: String,
    pub size: usize,
}

impl Desk<'_> {
    pub(super) fn identify(&self, headers: &HeaderMap, size: usize) -> Result<Caller, ApiError> {
        let unsigned = Caller { account: self.config.publisher_account.clone(), region: "us-east-1".to_owned(), size };
        let Some(authorization) = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) else {
            let missing = ApiError::refused("MissingAuthenticationTokenException", "Missing Authentication Token");
            return if self.state.switches.allow_unsigned { Ok(unsigned) } else { Err(missing) };
        };
        let scope = authorization.split_once("Credential=").map_or("", |(_, rest)| rest);
        let scope: Vec<&str> = scope.split(',').next().unwrap_or("").split('/').collect();
        let [key, _date, region, service, "aws4_request"] = scope.as_slice() else {
            return Err(ApiError::refused("IncompleteSignatureException", "The credential scope cannot be read."));
        };
        if *service != "aws-marketplace" {
            let message = "Credential should be scoped to correct service: 'aws-marketplace'.";
            return Err(ApiError::refused("InvalidSignatureException", message));
        }
        let names_an_account = key.len() == 12 && key.bytes().all(|byte| byte.is_ascii_digit());
        let account = if names_an_account { (*key).to_owned() } else { unsigned.account };
        Ok(Caller { account, region: (*region).to_owned(), size })
    }

    /// Answers one call; the input has the members of the operation's JSON form.
    pub(super) fn answer(&mut self, operation: Operation, caller: &Caller, input: &Value) -> Result<Value, ApiError> {
        self.check_quota(operation, &caller.region)?;
        if use_one(&mut self.state.switches.fail_5xx) {
            return Err(ApiError::internal(operation.service()));
        }
        match operation {
            Operation::ResolveCustomer => self.resolve_customer(caller, input),
            Operation::BatchMeterUsage => self.batch_meter_usage(caller, input),
            Operation::GetEntitlements => self.get_entitlements(caller, input),
            Operation::DescribeAgreement => self.describe_agreement(caller, input),
            Operation::GetAgreementTerms => self.get_agreement_terms(caller, input),
            Operation::SearchAgreements => self.search_agreements(caller, input),
        }
    }

    pub(super) fn check_region(&self, caller: &Caller) -> Result<(), ApiError> {
        if self.state.switches.disabled_regions.contains(&caller.region) {
            return Err(ApiError::refused("DisabledApiException", "The API is disabled in this Region."));
        }
        Ok(())
    }
}
