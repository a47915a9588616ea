//! The workflows that are searched, and how much may go wrong in each.

use std::fmt;

use workflow::model::{Each, OnFailure};

use crate::support::{Kind, Spec};
use Kind::{
    After, Blind, Destroy, Gate, Never, NoUndo, Optional, Own, Read, Retry, RetryDestroy, Shown,
    Unexpected, Verified, Wait, Write,
};

/// One workflow, and how much may go wrong in it.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) spec: Spec,
    /// How many crashes, resumes, resolves and rollbacks by hand one path may have.
    pub(super) surprises: u32,
    /// How many answers may come when nobody waits for them any more.
    pub(super) late: u32,
    /// Decisions name steps in advance.
    pub(super) covers: bool,
    /// The search is cut short after so many states.
    pub(super) at_most: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {:?}", self.spec.kinds, self.spec.on_failure)?;
        for group in &self.spec.groups {
            let end = group.from + group.count;
            write!(f, ", {}..{end} at {} a time", group.from, group.limit)?;
            if let Some(each) = &group.each {
                let (batch, failures) = (each.batch, each.max_failures);
                write!(f, " in batches of {batch}, {failures} may fail")?;
            }
        }
        if self.spec.approvers.quorum > 1 {
            write!(f, ", {} people", self.spec.approvers.quorum)?;
        }
        if self.covers {
            write!(f, ", named in advance")?;
        }
        write!(f, "; {} surprises, {} late", self.surprises, self.late)
    }
}

/// The longest come first, so that the threads end together.
struct Cases {
    depth: u32,
    cases: Vec<Case>,
}

impl Cases {
    /// A workflow with so many surprises in the suite; less or more at another depth.
    fn add(&mut self, spec: Spec, surprises: u32) {
        self.add_late(spec, surprises, 0);
    }

    fn add_late(&mut self, spec: Spec, surprises: u32, late: u32) {
        self.cases.push(Case {
            spec,
            surprises: (surprises + self.depth.max(1)) - 1,
            late,
            covers: false,
            at_most: if self.depth == 0 { 1000 } else { usize::MAX },
        });
    }

    fn add_covered(&mut self, spec: Spec, surprises: u32) {
        self.add(spec, surprises);
        if let Some(case) = self.cases.last_mut() {
            case.covers = true;
        }
    }
}

/// All of them, at a depth.
pub(super) fn all(depth: u32) -> Vec<Case> {
    let mut cases = Cases {
        depth,
        cases: Vec::new(),
    };
    four(&mut cases);
    three(&mut cases);
    groups(&mut cases);
    pairs(&mut cases);
    singles(&mut cases);
    cases.cases
}

fn four(cases: &mut Cases) {
    cases.add(Spec::of(&[Write, Gate, Destroy, Write]), 0);
    cases.add(Spec::of(&[Read, Write, Retry, NoUndo]), 0);
    cases.add(Spec::of(&[Read, Destroy, Gate, Read]), 1);
    cases.add(Spec::of(&[Destroy, Own, Gate, Destroy]), 1);
    cases.add_late(Spec::of(&[Gate, Destroy, Never, Own]), 1, 1);
    cases.add(Spec::of(&[Gate, Blind, Optional, After]), 0);
    let each = |batch, max_failures| Each {
        batch,
        max_failures,
    };
    for kind in [Own, Destroy, Write] {
        for failures in [0, 1] {
            let spec = Spec::of(&[kind; 4]).group(0, 4, 2, Some(each(2, failures)));
            // Hundreds of thousands of states.
            if kind != Write || cases.depth > 1 {
                cases.add(spec, 0);
            }
        }
    }
    cases.add(Spec::of(&[Gate, Own, Write, Read]).group(1, 2, 2, None), 0);
}

fn three(cases: &mut Cases) {
    cases.add(Spec::of(&[Write, Destroy, Write]), 0);
    cases.add(Spec::of(&[Write, Gate, NoUndo]), 0);
    cases.add_covered(Spec::of(&[Destroy, NoUndo, Destroy]), 0);
}

fn groups(cases: &mut Cases) {
    let each = |batch, max_failures| {
        Some(Each {
            batch,
            max_failures,
        })
    };
    for kinds in [
        [Write, Write],
        [Write, Read],
        [Write, Retry],
        [Never, Write],
        [Optional, Write],
    ] {
        cases.add(Spec::of(&kinds).group(0, 2, 2, None), 0);
    }
    for kinds in [[Write, Write], [Destroy, Destroy]] {
        for failures in [0, 1] {
            cases.add(Spec::of(&kinds).group(0, 2, 2, each(2, failures)), 0);
            cases.add(Spec::of(&kinds).group(0, 2, 1, each(1, failures)), 0);
        }
    }
    // Tried again, where a failure is one to go on after.
    for failures in [0, 1] {
        let spec = Spec::of(&[Retry, Retry]);
        cases.add(spec.group(0, 2, 1, each(1, failures)), 0);
    }
    let spec = Spec::of(&[Retry, Own, Own]).group(0, 3, 2, each(2, 1));
    cases.add(spec, 0);
    if cases.depth > 1 {
        // Hundreds of thousands of states.
        let spec = Spec::of(&[Retry, Retry, Own]).group(0, 3, 2, each(2, 1));
        cases.add(spec, 0);
    }
    cases.add(Spec::of(&[Own, Read, Own]).group(0, 3, 2, None), 1);
    cases.add_late(Spec::of(&[Own, Own]).group(0, 2, 2, each(2, 1)), 1, 1);
    // Crashes with two in flight.
    cases.add_late(
        Spec::of(&[Destroy, Destroy]).group(0, 2, 2, each(2, 0)),
        1,
        1,
    );
    // Three with a limit of two; one before, one after.
    cases.add(
        Spec::of(&[Destroy, Read, Destroy]).group(0, 3, 2, each(3, 1)),
        0,
    );
    cases.add(Spec::of(&[Write, Read, Write]).group(0, 3, 2, None), 0);
    cases.add(Spec::of(&[Destroy, Write, Read]).group(1, 2, 2, None), 0);
    cases.add(Spec::of(&[Read, Destroy, Write]).group(0, 2, 2, None), 0);
    cases.add_covered(Spec::of(&[Destroy, NoUndo]).group(0, 2, 2, each(2, 0)), 0);
}

fn pairs(cases: &mut Cases) {
    let kinds = [Read, Write, Destroy, NoUndo, Gate, Blind];
    for a in kinds {
        for b in kinds {
            cases.add(Spec::of(&[a, b]), 1);
        }
    }
    for kind in [
        Retry,
        RetryDestroy,
        Wait,
        Never,
        Unexpected,
        Optional,
        Verified,
        Own,
    ] {
        cases.add(Spec::of(&[kind, Write]), 1);
        cases.add(Spec::of(&[Write, kind]), 1);
    }
    cases.add(Spec::of(&[Optional, After]), 1);
    let spec = Spec::of(&[Retry, Own]).on_failure(OnFailure::Continue);
    cases.add(spec, 1);
    cases.add_covered(Spec::of(&[Destroy, NoUndo]), 1);
    cases.add_late(Spec::of(&[Destroy, Own]), 1, 1);
}

fn singles(cases: &mut Cases) {
    for kind in [Read, Write, Destroy, NoUndo, Gate, Blind] {
        for policy in [OnFailure::Rollback, OnFailure::Stop, OnFailure::Continue] {
            cases.add(Spec::of(&[kind]).on_failure(policy), 3);
        }
    }
    for kind in [
        Retry,
        RetryDestroy,
        Wait,
        Never,
        Unexpected,
        Optional,
        Shown,
        Own,
    ] {
        cases.add(Spec::of(&[kind]), 2);
    }
    // So many that it is taken over too often.
    cases.add(Spec::of(&[Verified]), 6);
    cases.add(Spec::of(&[Destroy]), 6);
    for kind in [Write, Destroy, Blind, Own, Verified, Retry] {
        cases.add_late(Spec::of(&[kind]), 2, 1);
    }
    for kind in [Write, Destroy] {
        cases.add(Spec::of(&[kind]).quorum(2), 1);
    }
    // What one person says of an unknown step is a question to the others.
    cases.add_late(Spec::of(&[Blind]).quorum(2), 2, 1);
}
