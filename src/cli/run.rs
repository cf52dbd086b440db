//! `tidegate run`: the agent, from the first line to the exit code.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tracing_subscriber::filter::LevelFilter;

use super::messages::{self, Level};
use super::output::{self, Failure, WARNING, say};
use super::service_manager;
use super::signals::{Signals, Told};
use super::sources::{self, ConfigArgs};
use super::{Globals, descriptors};
use crate::config::{self, Config, DEFAULT_YAML, Pipeline, Sources};
use crate::pipeline::{Agent, Kept, Kernel, StartError};
use crate::spool::Spool;

/// Run the agent
///
/// Without --config it runs the built-in configuration: kernel events and OTLP on 127.0.0.1:4317 (gRPC) and :4318
/// (HTTP), kept on disk, with a readable copy of kernel events in the data directory.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    tidegate run\n  \
    tidegate run --config agent.yaml --config site.yaml\n  \
    tidegate run --set receivers.otlp.protocols.grpc.endpoint=127.0.0.1:5317\n  \
    tidegate run --print-default-config > agent.yaml\n\n\
    SIGTERM stops within --shutdown-timeout; what is not delivered stays on disk. SIGHUP reloads.")]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print the built-in configuration and exit
    #[arg(long)]
    print_default_config: bool,
    /// How long a stop may take, as 5s or 1m30s
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = config::duration_argument)]
    shutdown_timeout: Duration,
}

pub(crate) fn run(args: &Args, globals: &Globals) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    if args.print_default_config {
        output::print_text(DEFAULT_YAML)?;
        return Ok(ExitCode::SUCCESS);
    }
    descriptors::take_all();
    let sources = args.config.sources(globals);
    let config = sources::load(&sources)?;
    let level = messages::to_stderr(&config.messages);
    let spool = Spool::open(&config.data_dir, config.spool.clone()).map_err(|e| output::spool_failure(&e))?;
    say(&format!("tidegate {}", env!("CARGO_PKG_VERSION")));
    say(&data_fact(&config, &spool));
    // Hooks attach here, on the main thread: rights act per thread, and no other thread may have more than this one.
    let kernel = Kernel::attach(&config);
    let runtime = runtime()?;
    let service = Service { sources, spool: spool.clone(), level, shutdown_timeout: args.shutdown_timeout };
    let result = runtime.block_on(service.run(config, kernel, started));
    // A blocking read that hangs on a dying disk must not hold the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    // A start that failed has left them open.
    let closed = spool.close().map_err(|e| output::spool_failure(&e));
    result.and_then(|code| closed.map(|()| code))
}

fn runtime() -> Result<Runtime, Failure> {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    built.map_err(|e| Failure::new(format!("the async runtime cannot start: {e}")))
}

fn data_fact(config: &Config, spool: &Spool) -> String {
    let durability = output::durability(config.spool.log.durability);
    let size = output::bytes(spool.max_size());
    format!("data: {} (durability {durability}, {size})", config.data_dir.display())
}

/// The agent's life after the logs are open: start, reload, stop.
struct Service {
    sources: Sources,
    spool: Spool,
    level: Level,
    shutdown_timeout: Duration,
}

/// The running graph and what it was made from.
struct Running {
    config: Config,
    /// None where a reload was given up because the process shall stop.
    agent: Option<Agent>,
    kept: Kept,
}

impl Service {
    async fn run(self, config: Config, kernel: Kernel, started: Instant) -> Result<ExitCode, Failure> {
        let mut signals = Signals::listen()?;
        let mut kept = Kept::new(kernel);
        let agent = Agent::start(&config, &self.spool, &mut kept).await.map_err(|e| start_failure(&e))?;
        self.announce(&agent, &config);
        say("next: tidegate tail, tidegate doctor");
        say(&format!("ready in {} ms", started.elapsed().as_millis()));
        service_manager::ready();
        service_manager::keep_watchdog_quiet();
        let mut running = Running { config, agent: Some(agent), kept };
        let stopped = loop {
            match signals.next().await {
                Told::Stop(asked) => break asked,
                Told::Reload => {
                    service_manager::reloading();
                    if let Err(failure) = self.reload(&mut running, &signals).await {
                        running.kept.stop().await;
                        return Err(failure);
                    }
                    service_manager::ready();
                }
            }
        };
        self.stop(running, stopped).await
    }

    /// Changes to the configuration as it is on disk now. An invalid one is refused and the old one goes on; one that
    /// cannot start is undone. A stop that is asked for meanwhile is not made to wait for a start.
    async fn reload(&self, running: &mut Running, signals: &Signals) -> Result<(), Failure> {
        let new = match sources::load(&self.sources) {
            Ok(new) => new,
            Err(faults) => {
                faults.report();
                say("reload refused; the old configuration goes on");
                return Ok(());
            }
        };
        if let Some(changed) = needs_restart(&running.config, &new) {
            say(&format!("reload refused: {changed}: restart needed; the old configuration goes on"));
            return Ok(());
        }
        let started = Instant::now();
        say("reloading");
        if let Some(agent) = running.agent.take() {
            agent.pause(started + self.shutdown_timeout).await;
        }
        if signals.stop_asked() {
            return Ok(());
        }
        let error = match self.restart(&new, &mut running.kept).await {
            Ok(agent) => {
                self.announce(&agent, &new);
                say(&format!("reloaded in {} ms", started.elapsed().as_millis()));
                (running.agent, running.config) = (Some(agent), new);
                return Ok(());
            }
            Err(error) => error,
        };
        start_failure(&error).report();
        if signals.stop_asked() {
            return Ok(());
        }
        say("reload failed; going back to the old configuration");
        let agent = self.restart(&running.config, &mut running.kept).await.map_err(|e| start_failure(&e))?;
        self.announce(&agent, &running.config);
        say(&format!("the old configuration runs again after {} ms", started.elapsed().as_millis()));
        running.agent = Some(agent);
        Ok(())
    }

    async fn restart(&self, config: &Config, kept: &mut Kept) -> Result<Agent, StartError> {
        // Fails only where another subscriber was set before ours.
        self.level.modify(|level| *level = LevelFilter::from_level(config.messages.level)).unwrap_or_default();
        Agent::start(config, &self.spool, kept).await
    }

    async fn stop(&self, running: Running, asked: Instant) -> Result<ExitCode, Failure> {
        service_manager::stopping();
        match running.agent {
            Some(agent) => agent.stop(running.kept, asked + self.shutdown_timeout).await,
            None => running.kept.stop().await,
        }
        let undelivered = self.undelivered();
        let spool = self.spool.clone();
        // Beside the signals: a second one ends even this.
        match tokio::task::spawn_blocking(move || spool.close()).await {
            Ok(closed) => closed.map_err(|e| output::spool_failure(&e))?,
            Err(error) => return Err(Failure::new(format!("the logs were not closed: {error}"))),
        }
        let took = asked.elapsed().as_millis();
        let directory = self.spool.directory().display();
        match undelivered {
            Ok(0) => say(&format!("stopped in {took} ms; everything is delivered")),
            Ok(1) => say(&format!(
                "stopped in {took} ms; 1 undelivered record stays in {directory} and goes out after the next start"
            )),
            Ok(n) => say(&format!(
                "stopped in {took} ms; {n} undelivered records stay in {directory} and go out after the next start"
            )),
            Err(error) => say(&format!("stopped in {took} ms; what is undelivered stays on disk, uncounted: {error}")),
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What was started, and what the operator should know about the configuration that was typed.
    fn announce(&self, agent: &Agent, config: &Config) {
        for fact in agent.facts() {
            say(fact);
        }
        let typed = !self.sources.files.is_empty();
        for note in config.notes.iter().filter(|_| typed) {
            say(&format!("{WARNING}note:{WARNING:#} {note}"));
        }
    }

    /// Records that at least one required cursor still has to deliver, summed over the cursors.
    fn undelivered(&self) -> Result<u64, crate::spool::Error> {
        let inspection = self.spool.inspect()?;
        let cursors = inspection.logs.iter().flat_map(|log| &log.cursors);
        Ok(cursors.filter(|cursor| cursor.required).map(|cursor| cursor.pending.items).sum())
    }
}

/// What an agent cannot change while its logs are open.
fn needs_restart(old: &Config, new: &Config) -> Option<String> {
    if new.data_dir != old.data_dir {
        return Some(format!("the data directory is now {}", new.data_dir.display()));
    }
    if new.spool != old.spool {
        return Some("options of disk_buffer changed".to_owned());
    }
    let is_changed = |new: &&Pipeline| old.pipelines.iter().any(|old| old.log == new.log && old.options != new.options);
    new.pipelines.iter().find(is_changed).map(|pipeline| format!("options of log {} changed", pipeline.log))
}

fn start_failure(error: &StartError) -> Failure {
    let failure = Failure::new(error.to_string());
    match error {
        StartError::Bind(error) => failure.help(error.help()),
        StartError::Spool(_) | StartError::Listen(_) | StartError::System(_) | StartError::Exporter { .. } => failure,
    }
}
