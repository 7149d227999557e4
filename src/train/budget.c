#include "train/budget.h"

#include <math.h>

/* Shares of the limit: one look every so often; a rehearsal is at least one look long and at most
 * `longest`; plans aim at `aim`, so that a run that goes as planned never meets the limit. */
static const double look_every = 0.02, longest_rehearsal = 0.1, aim = 0.98;
/* A plan is kept while it overruns by no more than this share of what is left. */
static const double slack = 1.03;
/* A plan is stretched where it would leave more than this share of what is left: one that was bent
 * already, one that could still be made again exactly. */
static const double unused_bent = 0.1, unused_planned = 0.5;
enum { WARM_STEPS = 2, LEAST_STEPS = 8 };

void iv_budget_start(iv_budget *b, double limit, double used, double now)
{
    *b = (iv_budget){.limit = limit, .used = used, .began = now, .looked = now};
}

void iv_budget_attempt(iv_budget *b, uint64_t step, uint64_t asked, bool bent, double now)
{
    b->asked = asked;
    b->bent = bent;
    b->attempt_began = iv_budget_seconds(b, now);
    b->looked = now;
    b->looked_step = b->start_step = step;
    b->warm = false;
    b->planned = b->again;
    b->again = false;
}

double iv_budget_seconds(const iv_budget *b, double now)
{
    return b->used + (now - b->began);
}

static uint64_t whole_steps(double steps)
{
    return steps >= 1.0 ? (uint64_t)steps : 1;
}

iv_budget_word iv_budget_look(iv_budget *b, double now, uint64_t step, uint64_t *steps)
{
    if (!(b->limit > 0.0) || step >= *steps) return IV_BUDGET_GO;
    double spent = iv_budget_seconds(b, now);
    if (spent >= b->limit) return IV_BUDGET_OUT;
    if (!b->warm && step >= b->start_step + WARM_STEPS) {
        b->warm = true;
        b->looked = now;
        b->looked_step = step;
    }
    double window = now - b->looked, made = (double)(step - b->looked_step);
    if (!b->warm || window < look_every * b->limit || made < 1.0) return IV_BUDGET_GO;
    if (!b->planned && made < LEAST_STEPS && window < longest_rehearsal * b->limit)
        return IV_BUDGET_GO;
    double rate = made / window, left = aim * b->limit - spent;
    bool first = !b->planned && b->start_step == 0;
    b->planned = true;
    b->looked = now;
    b->looked_step = step;
    if (left <= 0.0) return IV_BUDGET_GO;
    double needed = (double)(*steps - step);
    uint64_t fit = whole_steps(rate * left);
    if (needed <= slack * rate * left) {
        double unused = b->bent ? unused_bent : unused_planned;
        bool more = *steps < b->asked && needed < (1.0 - unused) * rate * left;
        if (!more) return IV_BUDGET_GO;
    }
    if (first) { /* nothing is lost yet: the schedule of so many steps, from its beginning */
        if (fit >= *steps) return IV_BUDGET_GO;
        *steps = fit;
        b->again = true;
        return IV_BUDGET_AGAIN;
    }
    b->bent = true;
    *steps = fit < b->asked - step ? step + fit : b->asked;
    return IV_BUDGET_BEND;
}

bool iv_budget_room(const iv_budget *b, double now, bool diverged)
{
    if (!(b->limit > 0.0)) return true;
    double spent = iv_budget_seconds(b, now), left = b->limit - spent;
    return left >= (diverged ? 0.1 * b->limit : 0.95 * (spent - b->attempt_began));
}
