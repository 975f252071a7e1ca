//! The client that openapi-generator makes of openapi.yaml in Rust, used against a running server.

use std::collections::HashMap;
use std::env;
use std::error::Error as StdError;
use std::process::ExitCode;

use serde_json::{json, Value};
use tidemark::apis::configuration::Configuration;
use tidemark::apis::presence_api::{put_presence, PutPresenceParams, PutPresenceSuccess};
use tidemark::apis::sync_api::{
    pull_changes, push_edits, PullChangesError, PullChangesParams, PullChangesSuccess, PushEditsParams, PushEditsSuccess,
};
use tidemark::apis::{Error, ResponseContent};
use tidemark::models::edit::Op;
use tidemark::models::edit_result::Status;
use tidemark::models::{Edit, EditResult, Page, PresenceRequest, Problem, PushRequest};

type Outcome<T> = Result<T, Box<dyn StdError>>;

const CLIENT_ID: &str = "rust";

/// A version that no space has reached: as `min_version` it is of a history that the server does not have.
const NEVER_REACHED: i64 = (1 << 53) - 1;

struct App {
    server: Configuration,
    space: String,
    cursor: String,
}

impl App {
    async fn push(&self, edit: Edit) -> Outcome<EditResult> {
        let push_request = PushRequest::new(CLIENT_ID.into(), vec![edit]);
        let answer = push_edits(&self.server, PushEditsParams { space: self.space.clone(), push_request }).await?;
        match answer.entity {
            Some(PushEditsSuccess::Status200(pushed)) => Ok(pushed.results.into_iter().next().ok_or("no result")?),
            _ => Err(answer.content.into()),
        }
    }

    async fn pull(&self, with: impl FnOnce(&mut PullChangesParams))
        -> Result<ResponseContent<PullChangesSuccess>, Error<PullChangesError>> {
        let mut params = PullChangesParams {
            space: self.space.clone(),
            cursor: Some(self.cursor.clone()),
            limit: None,
            wait: None,
            collections: Some(vec!["todos".into(), "more".into()]),
            min_version: None,
            if_none_match: None,
        };
        with(&mut params);
        pull_changes(&self.server, params).await
    }

    async fn push_and_retry(&self) -> Outcome<()> {
        let first = self.push(create("e1", "t1", "Milk")).await?;
        ensure(first.status == Status::Applied, &first)?;
        let again = self.push(create("e1", "t1", "Milk")).await?;
        ensure(again == EditResult { replayed: Some(true), ..first }, &again)
    }

    async fn conflict(&self) -> Outcome<()> {
        let late = self.push(create("e2", "t1", "Bread")).await?;
        ensure(late.status == Status::Conflict, &late)?;
        let current = late.current.ok_or("no current")?;
        ensure(current.edit_id == "e1" && current.data == Some(title("Milk")), &current)
    }

    async fn pull_pages(&mut self) -> Outcome<()> {
        for id in ["t2", "t3"] {
            self.push(create(id, id, id)).await?;
        }
        let (mut ids, mut pages) = (Vec::new(), 0);
        loop {
            let page = page(self.pull(|params| params.limit = Some(1)).await?)?;
            pages += 1;
            ids.extend(page.changes.into_iter().map(|change| change.id));
            self.cursor = page.cursor;
            if !page.has_more {
                break;
            }
        }
        ensure(ids == ["t1", "t2", "t3"] && pages >= 3, &(ids, pages))
    }

    /// This client shows no headers, but the ETag of a page is its cursor in quotes.
    async fn not_modified(&self) -> Outcome<()> {
        let quiet = page(self.pull(|_| ()).await?)?;
        ensure(quiet.changes.is_empty(), &quiet)?;
        let same = self.pull(|params| params.if_none_match = Some(format!("\"{}\"", self.cursor))).await?;
        ensure(same.status == 304, &same)
    }

    /// The variants of the error are tried in their order and all hold a problem: the status says which it was.
    async fn expired(&self) -> Outcome<()> {
        match self.pull(|params| params.min_version = Some(NEVER_REACHED)).await {
            Err(Error::ResponseError(gone)) => {
                let problem: Problem = serde_json::from_str(&gone.content)?;
                let cause = problem.cause.as_deref() == Some("epoch");
                ensure(gone.status == 410 && problem.code == "cursor_expired" && cause, &problem)
            }
            other => Err(format!("{other:?}").into()),
        }
    }

    async fn heartbeat(&self) -> Outcome<()> {
        let state = HashMap::from([("looks_at".to_owned(), json!("todos/t1"))]);
        let answer = put_presence(&self.server, PutPresenceParams {
            space: self.space.clone(),
            client_id: CLIENT_ID.into(),
            presence_request: PresenceRequest { state: Some(state.clone()), ttl_s: Some(30) },
        }).await?;
        let Some(PutPresenceSuccess::Status200(here)) = answer.entity else { return Err(answer.content.into()) };
        let [me] = &here.present[..] else { return Err(format!("{here:?}").into()) };
        ensure(me.client_id == CLIENT_ID && me.subject == "alice" && me.state == state, me)
    }
}

fn title(text: &str) -> HashMap<String, Value> {
    HashMap::from([("title".to_owned(), json!(text))])
}

fn create(edit_id: &str, id: &str, text: &str) -> Edit {
    Edit {
        base_version: Some(0),
        data: Some(title(text)),
        ..Edit::new(edit_id.into(), Op::Put, "todos".into(), id.into())
    }
}

fn page(answer: ResponseContent<PullChangesSuccess>) -> Outcome<Page> {
    match answer.entity {
        Some(PullChangesSuccess::Status200(page)) => Ok(page),
        _ => Err(answer.content.into()),
    }
}

fn ensure(holds: bool, what: &impl std::fmt::Debug) -> Outcome<()> {
    if holds { Ok(()) } else { Err(format!("{what:?}").into()) }
}

/// Prints what came of a scenario, and whether it was as it should be.
fn tell(name: &str, outcome: Outcome<()>) -> bool {
    match &outcome {
        Ok(()) => println!("ok {name}"),
        Err(error) => println!("failed {name}: {}", error.to_string().replace('\n', " ")),
    }
    outcome.is_ok()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<ExitCode> {
    let server = Configuration {
        base_path: env::var("TIDEMARK_URL")?,
        bearer_access_token: Some(env::var("TIDEMARK_TOKEN")?),
        ..Configuration::default()
    };
    let mut app = App { server, space: env::var("TIDEMARK_SPACE")?, cursor: String::new() };
    let mut well = tell("push", app.push_and_retry().await);
    well &= tell("conflict", app.conflict().await);
    well &= tell("pull pages", app.pull_pages().await);
    well &= tell("304", app.not_modified().await);
    well &= tell("410", app.expired().await);
    well &= tell("presence", app.heartbeat().await);
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
