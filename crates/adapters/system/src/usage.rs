//! What the process uses of its host, as metrics: read from `/proc` when Prometheus asks.
//!
//! The process's numbers have the names that every Prometheus client library gives them (`process_…`), so that dashboards made
//! for those work; the host's have the names of the original (`…_memory_total_bytes`, `…_disk_usage_bytes`). What cannot be
//! read is left out rather than told as zero. Rejected: the original's `cpu_usage_percent`, since over which time it is the mean of is
//! the reader's choice: `100 * rate(process_cpu_seconds_total[1m])`.

use std::fmt;
use std::path::{Path, PathBuf};

use procfs::process::{LimitValue, Process};
use procfs::{Current as _, Meminfo, ProcResult};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::disks::stat_of;

/// Collects what this process uses, and how full its host is.
#[derive(Debug)]
pub struct UsageMetrics {
    prefix: &'static str,
    data: PathBuf,
}

impl UsageMetrics {
    /// Names the host's metrics after `prefix` (`basilica_validator`, say), and looks at the filesystem that `data` is on. A path that is
    /// not there yet stands for its nearest directory that is.
    pub const fn new(prefix: &'static str, data: PathBuf) -> Self {
        Self { prefix, data }
    }

    fn host(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut tell = |name: &str, help: &str, bytes: u64| {
            encode(encoder, &format!("{}_{name}", self.prefix), help, Some(&Unit::Bytes), &gauge(bytes))
        };
        if let Ok(memory) = Meminfo::current() {
            tell("memory_total", "Memory of the host", memory.mem_total)?;
            if let Some(available) = memory.mem_available {
                tell("memory_usage", "In use on the host", memory.mem_total.saturating_sub(available))?;
            }
        }
        if let Some((used, total)) = disk(&self.data) {
            tell("disk_usage", "In use on the filesystem of the data", used)?;
            tell("disk_total", "Size of the filesystem of the data", total)?;
        }
        Ok(())
    }
}

/// Numbers of this process.
struct Used {
    cpu_seconds: f64,
    started: f64,
    resident: u64,
    mapped: u64,
    threads: i64,
    descriptors: usize,
    most_descriptors: Option<u64>,
}

impl Used {
    fn read() -> ProcResult<Self> {
        let process = Process::myself()?;
        let (stat, boot) = (process.stat()?, procfs::boot_time_secs()?);
        // Exact for 2^52 ticks of 10 ms: a million years.
        #[expect(clippy::cast_precision_loss, reason = "ticks and seconds are far below 2^52")]
        let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
        #[expect(clippy::cast_precision_loss, reason = "ticks and seconds are far below 2^52")]
        let boot = boot as f64;
        let most = process.limits()?.max_open_files.soft_limit;
        Ok(Self {
            cpu_seconds: seconds(stat.utime.saturating_add(stat.stime)),
            started: boot + seconds(stat.starttime),
            resident: stat.rss.saturating_mul(procfs::page_size()),
            mapped: stat.vsize,
            threads: stat.num_threads,
            descriptors: process.fd_count()?,
            most_descriptors: match most {
                LimitValue::Value(most) => Some(most),
                LimitValue::Unlimited => None,
            },
        })
    }

    fn tell(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (seconds, bytes) = (Some(&Unit::Seconds), Some(&Unit::Bytes));
        let cpu = ConstCounter::new(self.cpu_seconds);
        encode(encoder, "process_cpu", "CPU time used, user and system", seconds, &cpu)?;
        let started = ConstGauge::new(self.started);
        encode(encoder, "process_start_time", "Start of the process, since 1970", seconds, &started)?;
        encode(encoder, "process_resident_memory", "Resident memory", bytes, &gauge(self.resident))?;
        encode(encoder, "process_virtual_memory", "Mapped memory", bytes, &gauge(self.mapped))?;
        encode(encoder, "process_threads", "Threads", None, &ConstGauge::new(self.threads))?;
        let descriptors = u64::try_from(self.descriptors).unwrap_or(u64::MAX);
        encode(encoder, "process_open_fds", "Open file descriptors", None, &gauge(descriptors))?;
        match self.most_descriptors {
            Some(most) => encode(encoder, "process_max_fds", "Most file descriptors", None, &gauge(most)),
            None => Ok(()),
        }
    }
}

impl Collector for UsageMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Ok(used) = Used::read() {
            used.tell(&mut encoder)?;
        }
        self.host(&mut encoder)
    }
}

fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    metric: &impl EncodeMetric,
) -> fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)
}

/// Bytes in use and in all where `data` is or will be.
fn disk(data: &Path) -> Option<(u64, u64)> {
    let stat = stat_of(data)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Some((bytes(stat.f_blocks.saturating_sub(stat.f_bfree)), bytes(stat.f_blocks)))
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;

    use super::*;

    /// The value of the only series of this name.
    fn value(text: &str, name: &str) -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} in {text}")).parse().expect("a number")
    }

    #[test]
    fn every_number_is_told_under_its_usual_name() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(UsageMetrics::new("basilica_x", "not/there/yet.db".into())));
        let mut told = String::new();
        text::encode(&mut told, &registry).unwrap();
        assert!(value(&told, "process_resident_memory_bytes") > 100_000.0);
        assert!(value(&told, "process_start_time_seconds") > 1.7e9);
        assert!(value(&told, "process_open_fds") >= 3.0);
        assert!(value(&told, "process_threads") >= 1.0);
        assert!(value(&told, "process_cpu_seconds_total") >= 0.0);
        let (used, total) =
            (value(&told, "basilica_x_disk_usage_bytes"), value(&told, "basilica_x_disk_total_bytes"));
        assert!(0.0 < used && used <= total, "{used} of {total}");
        let memory = value(&told, "basilica_x_memory_usage_bytes");
        assert!(0.0 < memory && memory < value(&told, "basilica_x_memory_total_bytes"), "{memory}");
        assert!(
            value(&told, "basilica_x_memory_total_bytes") >= value(&told, "process_resident_memory_bytes")
        );
    }
}
