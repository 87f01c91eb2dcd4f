//! `faregate models`: what can be called, by which format, for how much.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use serde_json::{Value, json};

use faregate_catalog::{Catalog, ModelInfo, Operation, PriceKey, PriceKind, Provider, provider, resolve};
use faregate_config::{DeploymentConfig, Env, ServeEnv, Snapshot, Strictness};

use crate::check::check;
use crate::demo::environment_routes;

/// Prices are shown per this many tokens.
const MILLION: u64 = 1_000_000;

/// What is asked for.
#[derive(Debug, Clone, clap::Args)]
pub struct Models {
    /// The file; without one, what the environment's provider keys give [env: CONFIG_FILE_PATH]
    #[arg(long, short)]
    config: Option<std::path::PathBuf>,
    /// The whole catalog instead, or those of its models whose name or provider holds this text
    #[arg(long, num_args = 0..=1, value_name = "TEXT", default_missing_value = "", conflicts_with = "config")]
    all: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One line of the table.
struct Line {
    group: String,
    provider: String,
    model: String,
    dialects: String,
    context: Option<u64>,
    input: Option<String>,
    output: Option<String>,
}

/// Prints the models.
///
/// # Errors
/// If the config is refused or nothing can be printed.
pub fn run(asked: &Models) -> anyhow::Result<ExitCode> {
    let env = Env::process();
    let config = asked.config.clone().or_else(|| ServeEnv::read(&env).0.config_file);
    let lines = match (&asked.all, config) {
        (Some(text), _) => catalog_lines(&text.to_lowercase()),
        (None, Some(path)) => config_lines(&snapshot(&path, &env)?),
        (None, None) => config_lines(&environment_routes(&env)),
    };
    let mut out = std::io::stdout().lock();
    if asked.json {
        writeln!(out, "{:#}", Value::from(lines.iter().map(Line::json).collect::<Vec<_>>()))?;
    } else {
        out.write_all(table(&lines).as_bytes())?;
    }
    if lines.is_empty() {
        writeln!(
            std::io::stderr(),
            "no models; name a --config, put a provider's key into the environment, or look at --all"
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn snapshot(path: &Path, env: &Env) -> anyhow::Result<Snapshot> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _within = runtime.enter();
    let checked = check(path, env, Strictness::Lenient)?;
    std::io::stderr().write_all(checked.lines().as_bytes())?;
    let usable = checked.is_usable();
    match checked.reading.snapshot {
        Some(snapshot) if usable => Ok(snapshot),
        _ => bail!("{} cannot be used; mend what is said above", path.display()),
    }
}

fn config_lines(snapshot: &Snapshot) -> Vec<Line> {
    let catalog = Catalog::built_in();
    snapshot.deployments.iter().map(|deployment| of_deployment(deployment, &catalog)).collect()
}

fn of_deployment(deployment: &DeploymentConfig, catalog: &Catalog) -> Line {
    let params = &deployment.params;
    let found = resolve(&params.model, params.provider.as_deref(), params.api_base.as_deref(), catalog).ok();
    let info = found.as_ref().and_then(|found| catalog.find(found.provider.name, &found.model));
    // The operator's own prices win, as they do for requests.
    let own = |name: &str| {
        let text = params.prices.get(name).or_else(|| deployment.info.all.get(name))?;
        let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
        faregate_terms::Price::parse(&text).ok().map(|price| price.times(MILLION).to_string())
    };
    let context = deployment.info.all.get("max_input_tokens").and_then(Value::as_u64);
    Line {
        group: deployment.group.to_string(),
        provider: found.as_ref().map_or("?", |found| found.provider.name).to_owned(),
        model: found.as_ref().map_or_else(|| params.model.clone(), |found| found.model.clone()),
        dialects: found.as_ref().map(|found| dialects(found.provider)).unwrap_or_default(),
        context: context.or_else(|| info.as_ref().and_then(|info| info.max_input_tokens)),
        input: own("input_cost_per_token").or_else(|| listed(info.as_deref(), PriceKind::InputToken)),
        output: own("output_cost_per_token").or_else(|| listed(info.as_deref(), PriceKind::OutputToken)),
    }
}

fn catalog_lines(text: &str) -> Vec<Line> {
    let catalog = Catalog::built_in();
    let mut keys: Vec<&str> = catalog.keys().collect();
    keys.sort_unstable();
    keys.into_iter()
        .filter_map(|key| {
            let info = catalog.entry(key)?;
            let name = info.provider_name().unwrap_or_default();
            if !key.to_lowercase().contains(text) && !name.contains(text) {
                return None;
            }
            Some(Line {
                group: key.to_owned(),
                provider: name.to_owned(),
                model: key.strip_prefix(&format!("{name}/")).unwrap_or(key).to_owned(),
                dialects: provider(name).map(dialects).unwrap_or_default(),
                context: info.max_input_tokens,
                input: listed(Some(&info), PriceKind::InputToken),
                output: listed(Some(&info), PriceKind::OutputToken),
            })
        })
        .collect()
}

/// The formats of the provider's chat routes; those this version cannot speak say so.
fn dialects(provider: &Provider) -> String {
    let mut names: Vec<String> = Vec::new();
    for operation in [Operation::Chat, Operation::Responses] {
        let Some(dialect) = provider.dialect(operation) else { continue };
        if dialect == faregate_catalog::Dialect::Bridge {
            continue;
        }
        let not_yet = if provider.serves(operation) { "" } else { " (not yet)" };
        let name = format!("{dialect}{not_yet}");
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}

fn listed(info: Option<&ModelInfo>, kind: PriceKind) -> Option<String> {
    Some(info?.prices.get(PriceKey::flat(kind))?.times(MILLION).to_string())
}

impl Line {
    fn json(&self) -> Value {
        json!({
            "model_group": self.group,
            "provider": self.provider,
            "model": self.model,
            "dialects": self.dialects.split(", ").filter(|name| !name.is_empty()).collect::<Vec<_>>(),
            "max_input_tokens": self.context,
            // Texts: a decimal amount has no exact JSON number everywhere.
            "input_usd_per_million_tokens": self.input,
            "output_usd_per_million_tokens": self.output,
        })
    }

    fn cells(&self) -> [String; 7] {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        [
            self.group.clone(),
            self.provider.clone(),
            self.model.clone(),
            self.dialects.clone(),
            self.context.map_or_else(|| "-".to_owned(), |tokens| tokens.to_string()),
            or_dash(&self.input),
            or_dash(&self.output),
        ]
    }
}

/// Columns as wide as their widest cell, numbers to the right.
fn table(lines: &[Line]) -> String {
    let head = ["MODEL GROUP", "PROVIDER", "UPSTREAM MODEL", "DIALECTS", "CONTEXT", "IN $/M", "OUT $/M"];
    let rows: Vec<[String; 7]> =
        std::iter::once(head.map(str::to_owned)).chain(lines.iter().map(Line::cells)).collect();
    let mut widths = [0; 7];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            if column < 4 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}
