//! Which rows: typed columns make filters, filters make `where` clauses.

use super::value::{Record, Value};
use std::{borrow::Cow, fmt, marker::PhantomData};

/// A column of `M` that holds a `T`.
pub struct Column<M, T> {
    name: &'static str,
    model: PhantomData<fn() -> (M, T)>,
}

impl<M, T> Clone for Column<M, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<M, T> Copy for Column<M, T> {}

impl<M, T> fmt::Debug for Column<M, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl<M, T> Column<M, T> {
    /// The column of this name; `model!` is where it is called.
    pub const fn new(name: &'static str) -> Self {
        Self { name, model: PhantomData }
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Rows where it equals `value`; NULL equals NULL here.
    pub fn eq(self, value: impl Into<Value>) -> Filter<M> {
        self.compare(Operator::Equal, value)
    }

    /// Rows where it is something else.
    pub fn ne(self, value: impl Into<Value>) -> Filter<M> {
        self.compare(Operator::NotEqual, value)
    }

    /// Rows where it is smaller.
    pub fn lt(self, value: impl Into<Value>) -> Filter<M> {
        self.compare(Operator::Less, value)
    }

    /// Rows where it is smaller or equal.
    pub fn lte(self, value: impl Into<Value>) -> Filter<M> {
        self.compare(Operator::LessOrEqual, value)
    }

    /// Rows where it is greater.
    pub fn gt(self, value: impl Into<Value>) -> Filter<M> {
        self.compare(Operator::Greater, value)
    }

    /// Rows where it is greater or equal.
    pub fn gte(self, value: impl Into<Value>) -> Filter<M> {
        self.compare(Operator::GreaterOrEqual, value)
    }

    /// Rows where it has this text in it, whatever the case of its letters from A to Z.
    pub fn contains(self, text: impl Into<String>) -> Filter<M> {
        self.compare(Operator::Contains, text.into())
    }

    /// A change that sets it.
    pub fn set(self, value: impl Into<Value>) -> Patch<M> {
        Patch { columns: vec![(self.name.into(), value.into())], model: PhantomData }
    }

    fn compare(self, operator: Operator, value: impl Into<Value>) -> Filter<M> {
        Filter {
            node: Node::Compare { column: self.name, operator, value: value.into() },
            model: PhantomData,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Contains,
}

#[derive(Clone)]
pub(crate) enum Node {
    Compare { column: &'static str, operator: Operator, value: Value },
    All(Vec<Node>),
    Any(Vec<Node>),
}

// What is compared with stays out: sessions are looked for by their token.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compare { column, operator, .. } => write!(f, "{column} {operator:?}"),
            Self::All(nodes) => f.debug_tuple("All").field(nodes).finish(),
            Self::Any(nodes) => f.debug_tuple("Any").field(nodes).finish(),
        }
    }
}

/// A condition on the rows of `M`.
pub struct Filter<M> {
    pub(crate) node: Node,
    model: PhantomData<fn() -> M>,
}

impl<M> Clone for Filter<M> {
    fn clone(&self) -> Self {
        Self { node: self.node.clone(), model: PhantomData }
    }
}

impl<M> Filter<M> {
    /// Every row.
    pub fn everything() -> Self {
        Self { node: Node::All(Vec::new()), model: PhantomData }
    }

    /// Both conditions.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let nodes = match self.node {
            Node::All(mut nodes) => {
                nodes.push(other.node);
                nodes
            }
            node => vec![node, other.node],
        };
        Self { node: Node::All(nodes), model: PhantomData }
    }

    /// Either condition.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let nodes = match self.node {
            Node::Any(mut nodes) => {
                nodes.push(other.node);
                nodes
            }
            node => vec![node, other.node],
        };
        Self { node: Node::Any(nodes), model: PhantomData }
    }
}

impl<M> fmt::Debug for Filter<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node.fmt(f)
    }
}

/// New values for some columns of `M`.
pub struct Patch<M> {
    pub(crate) columns: Vec<(Cow<'static, str>, Value)>,
    model: PhantomData<fn() -> M>,
}

impl<M> Patch<M> {
    /// Changes columns that only the schema knows.
    pub fn of(record: Record) -> Self {
        let columns = record.into_iter().map(|(name, value)| (name.into(), value));
        Self { columns: columns.collect(), model: PhantomData }
    }

    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Both changes; the later one wins on the same column.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for (column, value) in other.columns {
            match self.columns.iter_mut().find(|(name, _)| *name == column) {
                Some(slot) => slot.1 = value,
                None => self.columns.push((column, value)),
            }
        }
        self
    }
}

/// A query for several rows of `M`.
pub struct Select<M> {
    pub(crate) filter: Filter<M>,
    pub(crate) order: Option<(&'static str, Order)>,
    pub(crate) limit: Option<u32>,
    pub(crate) offset: u32,
}

/// Which end comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Smallest first.
    Ascending,
    /// Greatest first.
    Descending,
}

impl<M> Select<M> {
    /// All rows the filter lets through.
    pub fn matching(filter: Filter<M>) -> Self {
        Self { filter, order: None, limit: None, offset: 0 }
    }

    /// Sorted by a column.
    #[must_use]
    pub fn order_by<T>(mut self, column: Column<M, T>, order: Order) -> Self {
        self.order = Some((column.name, order));
        self
    }

    /// At most so many.
    #[must_use]
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Without the first so many.
    #[must_use]
    pub fn offset(mut self, offset: u32) -> Self {
        self.offset = offset;
        self
    }
}

impl<M> From<Filter<M>> for Select<M> {
    fn from(filter: Filter<M>) -> Self {
        Self::matching(filter)
    }
}
