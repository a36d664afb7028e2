//! What Prometheus sees. Labels come from configuration and code alone, never from a request.
//!
//! Series whose labels the configuration knows exist from the start at zero, so that a rate over the
//! first event is right; those by route, status and code appear with their first event. Durations
//! are in seconds, times in seconds since 1970, names as in the Prometheus conventions.

use prometheus::core::Collector as _;
use prometheus::{
    Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

pub use prometheus::{Error as MetricsError, HistogramTimer, IntGauge as Gauge};

/// All metrics of the front process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// `signerd_http_requests_total{route,code}`
    pub requests: IntCounterVec,
    /// `signerd_http_request_duration_seconds{route}`
    pub request_duration: HistogramVec,
    /// `signerd_http_inflight`
    pub inflight: IntGauge,
    /// `signerd_connections`
    pub connections: IntGauge,
    /// `signerd_tls_handshakes_total{result}`
    pub handshakes: IntCounterVec,
    /// `signerd_certificates_signed_total{issuer,alg}`
    pub signed: IntCounterVec,
    /// `signerd_records_total{issuer,outcome}`
    pub records: IntCounterVec,
    /// `signerd_records_rejected_total{reason}`; a record counts once per reason.
    pub rejected: IntCounterVec,
    /// `signerd_record_warnings_total{warning}`
    pub warnings: IntCounterVec,
    /// `signerd_config_reloads_total{result}`
    pub reloads: IntCounterVec,
    /// `signerd_config_loaded_timestamp_seconds`
    pub loaded_at: IntGauge,
    /// `signerd_problems_total{code}`
    pub problems: IntCounterVec,
    /// `signerd_hsm_signatures_refused_total`
    pub signatures_refused: IntCounter,
    /// `signerd_idempotent_replays_total`
    pub replays: IntCounter,
    /// `signerd_rate_limited_total{client}`
    pub rate_limited: IntCounterVec,
    /// `signerd_batch_records`
    pub batch_records: Histogram,
    /// `signerd_hsm_workers_up`
    pub workers_up: IntGauge,
    /// `signerd_hsm_worker_restarts_total`
    pub worker_restarts: IntCounter,
    /// `signerd_hsm_pin_latched`
    pub pin_latched: IntGauge,
    /// `signerd_hsm_sign_duration_seconds`: one chunk inside a worker.
    pub sign_duration: Histogram,
    /// `signerd_hsm_queue_wait_seconds`: until the first digest of a request went to a worker.
    pub queue_wait: Histogram,
    /// `signerd_hsm_worker_faults_total{kind}`
    pub worker_faults: IntCounterVec,
    /// `signerd_ledger_commit_duration_seconds`
    pub commit_duration: Histogram,
    /// `signerd_log_entries`
    pub log_size: IntGauge,
    /// `signerd_log_checkpoint_timestamp_seconds`
    pub checkpoint_at: IntGauge,
    /// `signerd_key_not_after_timestamp_seconds{key}`
    pub key_not_after: IntGaugeVec,
    /// `signerd_tls_cert_not_after_timestamp_seconds`
    pub tls_not_after: IntGauge,
    /// `signerd_file_not_after_timestamp_seconds{file}`: certificates and revocation lists.
    pub file_not_after: IntGaugeVec,
    /// `signerd_ready`
    pub ready: IntGauge,
    /// `signerd_window_open{issuer}`
    pub window_open: IntGaugeVec,
    /// `signerd_window_override_until_timestamp_seconds{issuer}`; 0 where no officer opened one.
    pub window_override_until: IntGaugeVec,
}

/// 1 ms to 16 s, doubling: from a preview of one record to a batch that waits for the HSM.
const REQUEST_BUCKETS: (f64, f64, usize) = (0.001, 2.0, 15);
/// 0.25 ms to 4 s, doubling: from one signature to a queue in front of a slow device.
const HSM_BUCKETS: (f64, f64, usize) = (0.000_25, 2.0, 15);

impl Metrics {
    /// Registers every metric.
    ///
    /// # Errors
    /// Two metrics of one name, which is a bug.
    #[expect(clippy::too_many_lines, reason = "a list, one entry for each metric")]
    pub fn new() -> prometheus::Result<Self> {
        let r = Registry::new();
        let metrics = Self {
            requests: counters(
                &r,
                "http_requests_total",
                "Requests by route and status.",
                &["route", "code"],
            )?,
            request_duration: histograms(
                &r,
                "http_request_duration_seconds",
                "Time from request head to answer.",
                "route",
            )?,
            inflight: gauge(&r, "http_inflight", "Requests being answered.")?,
            connections: gauge(&r, "connections", "Open TLS connections, officers' included.")?,
            handshakes: counters(
                &r,
                "tls_handshakes_total",
                "TLS handshakes by result.",
                &["result"],
            )?,
            signed: counters(
                &r,
                "certificates_signed_total",
                "Certificates released.",
                &["issuer", "alg"],
            )?,
            records: counters(
                &r,
                "records_total",
                "Judged records by outcome.",
                &["issuer", "outcome"],
            )?,
            rejected: counters(
                &r,
                "records_rejected_total",
                "Reasons of rejected records.",
                &["reason"],
            )?,
            warnings: counters(
                &r,
                "record_warnings_total",
                "Odd things about records that were certified.",
                &["warning"],
            )?,
            reloads: counters(
                &r,
                "config_reloads_total",
                "Reloads of the configuration by result.",
                &["result"],
            )?,
            loaded_at: gauge(
                &r,
                "config_loaded_timestamp_seconds",
                "When the rules in force were read.",
            )?,
            problems: counters(&r, "problems_total", "Refused requests by code.", &["code"])?,
            signatures_refused: counter(
                &r,
                "hsm_signatures_refused_total",
                "Signatures of the token that did not verify; none left.",
            )?,
            replays: counter(&r, "idempotent_replays_total", "Batches answered from the ledger.")?,
            rate_limited: counters(
                &r,
                "rate_limited_total",
                "Batches refused by the rate limit.",
                &["client"],
            )?,
            batch_records: histogram(&r, "batch_records", "Records per batch.", (1.0, 4.0, 6))?,
            workers_up: gauge(&r, "hsm_workers_up", "Worker processes that proved their keys.")?,
            worker_restarts: counter(
                &r,
                "hsm_worker_restarts_total",
                "Worker processes restarted.",
            )?,
            pin_latched: gauge(
                &r,
                "hsm_pin_latched",
                "1 after a wrong PIN, until the latch is cleared.",
            )?,
            sign_duration: histogram(
                &r,
                "hsm_sign_duration_seconds",
                "Time of one signing request in the pool.",
                HSM_BUCKETS,
            )?,
            queue_wait: histogram(
                &r,
                "hsm_queue_wait_seconds",
                "Wait of a signing request for a worker.",
                HSM_BUCKETS,
            )?,
            worker_faults: counters(
                &r,
                "hsm_worker_faults_total",
                "Faults that workers reported or suffered.",
                &["kind"],
            )?,
            commit_duration: histogram(
                &r,
                "ledger_commit_duration_seconds",
                "Time of one durable ledger step.",
                HSM_BUCKETS,
            )?,
            log_size: gauge(&r, "log_entries", "Entries of the transparency log.")?,
            checkpoint_at: gauge(
                &r,
                "log_checkpoint_timestamp_seconds",
                "Time of the latest signed checkpoint of the log.",
            )?,
            key_not_after: gauges(
                &r,
                "key_not_after_timestamp_seconds",
                "End of the signer certificate.",
                "key",
            )?,
            tls_not_after: gauge(
                &r,
                "tls_cert_not_after_timestamp_seconds",
                "End of the server certificate.",
            )?,
            file_not_after: gauges(
                &r,
                "file_not_after_timestamp_seconds",
                "When the first certificate or revocation list in a file of trust ends.",
                "file",
            )?,
            ready: gauge(&r, "ready", "1 while batches can be signed.")?,
            window_open: gauges(
                &r,
                "window_open",
                "1 while the issuer signs, by its hours or by an officer's override.",
                "issuer",
            )?,
            window_override_until: gauges(
                &r,
                "window_override_until_timestamp_seconds",
                "End of an officer's override of the signing window, 0 without one.",
                "issuer",
            )?,
            registry: r,
        };
        metrics.build_info()?;
        Ok(metrics)
    }

    /// The text format of Prometheus, version 0.0.4.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            log::error!("metrics could not be encoded: {error}");
        }
        text
    }

    /// Makes the series of each client exist before its first event.
    pub fn name_clients<'a>(&self, clients: impl Iterator<Item = &'a str>) {
        for client in clients {
            self.rate_limited.with_label_values(&[client]);
        }
        for result in ["ok", "refused", "timeout"] {
            self.handshakes.with_label_values(&[result]);
        }
    }

    /// Makes the series of each route and of each problem (status and code) exist.
    pub fn name_routes(&self, routes: &[&str], problems: &[(u16, &str)]) {
        for route in routes {
            self.request_duration.with_label_values(&[route]);
            self.requests.with_label_values(&[route, "200"]);
            for (status, code) in problems {
                self.requests.with_label_values(&[route, status.to_string().as_str()]);
                self.problems.with_label_values(&[code]);
            }
        }
    }

    /// Drops the windows of issuers that the rules no longer name; those that stay are never absent.
    pub fn keep_windows_of(&self, issuers: &[&str]) {
        for gauges in [&self.window_open, &self.window_override_until] {
            for issuer in first_labels(gauges) {
                if issuers.contains(&issuer.as_str()) {
                    continue;
                }
                if let Err(error) = gauges.remove_label_values(&[issuer.as_str()]) {
                    // Another look at the windows was faster.
                    log::debug!(issuer:%; "series already gone: {error}");
                }
            }
        }
    }

    /// Makes the series of each issuer exist before its first event.
    pub fn name_issuers<'a>(&self, issuers: impl Iterator<Item = (&'a str, &'a str)>) {
        for (issuer, alg) in issuers {
            self.signed.with_label_values(&[issuer, alg]);
            for outcome in ["issued", "withheld", "rejected"] {
                self.records.with_label_values(&[issuer, outcome]);
            }
        }
        for result in ["ok", "refused"] {
            self.reloads.with_label_values(&[result]);
        }
        for code in policy::WarningCode::ALL {
            self.warnings.with_label_values(&[code.as_str()]);
        }
        for code in policy::ReasonCode::ALL {
            self.rejected.with_label_values(&[code.as_str()]);
        }
    }

    fn build_info(&self) -> prometheus::Result<()> {
        let info =
            gauges(&self.registry, "build_info", "1, with the version as a label.", "version")?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(())
    }
}

/// The values that the only label of a family has now.
fn first_labels(gauges: &IntGaugeVec) -> Vec<String> {
    let families = gauges.collect();
    let series = families.iter().flat_map(|family| family.get_metric());
    series.filter_map(|metric| Some(metric.get_label().first()?.value().to_owned())).collect()
}

fn register<C: prometheus::core::Collector + Clone + 'static>(
    r: &Registry,
    c: C,
) -> prometheus::Result<C> {
    r.register(Box::new(c.clone()))?;
    Ok(c)
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(format!("signerd_{name}"), help)
}

fn counter(r: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    register(r, IntCounter::with_opts(options(name, help))?)
}

fn counters(
    r: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<IntCounterVec> {
    register(r, IntCounterVec::new(options(name, help), labels)?)
}

fn gauge(r: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    register(r, IntGauge::with_opts(options(name, help))?)
}

fn gauges(r: &Registry, name: &str, help: &str, label: &str) -> prometheus::Result<IntGaugeVec> {
    register(r, IntGaugeVec::new(options(name, help), &[label])?)
}

fn histogram(
    r: &Registry,
    name: &str,
    help: &str,
    buckets: (f64, f64, usize),
) -> prometheus::Result<Histogram> {
    register(r, Histogram::with_opts(histogram_options(name, help, buckets)?)?)
}

fn histograms(
    r: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> prometheus::Result<HistogramVec> {
    let options = histogram_options(name, help, REQUEST_BUCKETS)?;
    register(r, HistogramVec::new(options, &[label])?)
}

fn histogram_options(
    name: &str,
    help: &str,
    (start, factor, count): (f64, f64, usize),
) -> prometheus::Result<HistogramOpts> {
    let buckets = prometheus::exponential_buckets(start, factor, count)?;
    Ok(HistogramOpts { common_opts: options(name, help), buckets })
}
