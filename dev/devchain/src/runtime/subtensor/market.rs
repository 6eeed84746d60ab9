//! The price of a subnet's alpha: a pool of TAO and alpha whose product a trade keeps.
//!
//! The public chain trades with concentrated liquidity; with only the protocol's own liquidity, as here, that is this constant
//! product with the same fee. A stable subnet (mechanism 0) and the root network trade one to one without a fee.
//! Everything here is pure and rounds against whoever trades, so that no sequence of trades takes value out of a pool.

use sp_core::U256;

/// The part of a trade's input that stays in the pool as its fee, in parts of 65,535 (0.05 %, the public chain's default).
pub const FEE_RATE: u16 = 33;
/// Rao in one token: prices are in rao for this much alpha.
pub const UNIT: u64 = 1_000_000_000;

/// What a pool holds, in rao of the token and of alpha.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Market {
    /// One to one; the amount is the TAO that can be paid out.
    Stable {
        /// TAO held.
        tao: u64,
    },
    /// Constant product.
    Pool {
        /// TAO held.
        tao: u64,
        /// Alpha held.
        alpha: u64,
    },
}

/// What a trade pays out, and the fee that is part of what was paid in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trade {
    /// What is paid out, in the other unit.
    pub out: u64,
    /// The fee, in the unit that was paid in.
    pub fee: u64,
}

fn narrow(wide: U256) -> u64 {
    if wide > U256::from(u64::MAX) { u64::MAX } else { wide.low_u64() }
}

fn fee_of(amount: u64) -> u64 {
    narrow(U256::from(amount) * U256::from(FEE_RATE) / U256::from(u16::MAX))
}

/// The largest amount whose part after the fee is at most `net`.
fn gross_of(net: u64) -> u64 {
    narrow(U256::from(net) * U256::from(u16::MAX) / U256::from(u16::MAX - FEE_RATE))
}

/// What `paid` in one side of the pool takes out of the other, fee deducted; never all of it.
fn swapped(paid: u64, side: u64, other: u64) -> Trade {
    let fee = fee_of(paid);
    let net = U256::from(paid.saturating_sub(fee));
    let whole = U256::from(side).saturating_add(net);
    let out = if whole.is_zero() { U256::zero() } else { U256::from(other) * net / whole };
    Trade { out: narrow(out), fee }
}

impl Market {
    /// The price of one whole alpha in rao; 0 for an empty pool.
    #[must_use]
    pub fn price(self) -> u64 {
        match self {
            Self::Stable { .. } => UNIT,
            Self::Pool { alpha: 0, .. } => 0,
            Self::Pool { tao, alpha } => narrow(U256::from(tao) * U256::from(UNIT) / U256::from(alpha)),
        }
    }

    /// The fee of a trade, in the unit of what is paid in.
    #[must_use]
    pub fn fee(self, paid: u64) -> u64 {
        match self {
            Self::Stable { .. } => 0,
            Self::Pool { .. } => fee_of(paid),
        }
    }

    /// What `tao` buys. `None` if the pool cannot give anything for it.
    #[must_use]
    pub fn buy(self, tao: u64) -> Option<Trade> {
        let trade = match self {
            Self::Stable { .. } => Trade { out: tao, fee: 0 },
            Self::Pool { tao: side, alpha } => swapped(tao, side, alpha),
        };
        (trade.out > 0).then_some(trade)
    }

    /// What `alpha` sells for. `None` if the pool cannot pay.
    #[must_use]
    pub fn sell(self, alpha: u64) -> Option<Trade> {
        match self {
            Self::Stable { tao } => (alpha <= tao && alpha > 0).then_some(Trade { out: alpha, fee: 0 }),
            Self::Pool { tao, alpha: side } => {
                let trade = swapped(alpha, side, tao);
                (trade.out > 0).then_some(trade)
            }
        }
    }

    /// The most TAO that can be paid in before the price is above `limit` rao for one alpha.
    #[must_use]
    pub fn most_to_buy(self, limit: u64) -> u64 {
        match self {
            Self::Stable { .. } => {
                if limit >= UNIT {
                    u64::MAX
                } else {
                    0
                }
            }
            Self::Pool { tao, alpha } => {
                let square = U256::from(tao) * U256::from(alpha) * U256::from(limit) / U256::from(UNIT);
                gross_of(narrow(square.integer_sqrt()).saturating_sub(tao))
            }
        }
    }

    /// The most alpha that can be paid in before the price is below `limit` rao for one alpha.
    #[must_use]
    pub fn most_to_sell(self, limit: u64) -> u64 {
        match self {
            Self::Stable { .. } => {
                if limit <= UNIT {
                    u64::MAX
                } else {
                    0
                }
            }
            Self::Pool { .. } if limit == 0 => u64::MAX,
            Self::Pool { tao, alpha } => {
                let square = U256::from(tao) * U256::from(alpha) * U256::from(UNIT) / U256::from(limit);
                gross_of(narrow(square.integer_sqrt()).saturating_sub(alpha))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_stable_market_trades_one_to_one_at_price_one() {
        let market = Market::Stable { tao: 10 };
        assert_eq!(market.buy(7), Some(Trade { out: 7, fee: 0 }));
        assert_eq!((market.sell(10), market.sell(11)), (Some(Trade { out: 10, fee: 0 }), None));
        assert_eq!((market.most_to_buy(UNIT), market.most_to_buy(UNIT - 1)), (u64::MAX, 0));
        assert_eq!((market.most_to_sell(UNIT), market.most_to_sell(UNIT + 1)), (u64::MAX, 0));
    }

    #[test]
    fn golden_trades() {
        let market = Market::Pool { tao: 1_000_000_000_000, alpha: 2_000_000_000_000 };
        assert_eq!(market.price(), 500_000_000);
        // 1 TAO: fee 503,547; 2·10¹² × 999,496,453 / (10¹² + 999,496,453), rounded down.
        assert_eq!(market.buy(1_000_000_000), Some(Trade { out: 1_996_996_914, fee: 503_547 }));
        assert_eq!(Market::Pool { tao: 0, alpha: 0 }.buy(5), None);
        assert_eq!(Market::Pool { tao: 0, alpha: 0 }.price(), 0);
    }

    proptest! {
        #[test]
        fn a_round_trip_never_gains_and_a_pool_never_runs_dry(
            tao in 0..u64::MAX / 2, alpha in 0..u64::MAX / 2, paid in any::<u64>(),
        ) {
            let market = Market::Pool { tao, alpha };
            if let Some(trade) = market.buy(paid) {
                prop_assert!(trade.out < alpha);
                let product = U256::from(tao) * U256::from(alpha);
                let Some(grown) = tao.checked_add(paid) else { return Ok(()) };
                prop_assert!(U256::from(grown) * U256::from(alpha - trade.out) >= product);
                let after = Market::Pool { tao: grown, alpha: alpha - trade.out };
                let back = after.sell(trade.out).map_or(0, |trade| trade.out);
                prop_assert!(back <= paid);
            }
        }

        #[test]
        fn the_most_to_trade_reaches_the_limit_and_not_past_it(
            tao in 1_000_000_000u64..1_000_000_000_000_000, alpha in 1_000_000_000u64..1_000_000_000_000_000,
            percent in 1u64..300,
        ) {
            let market = Market::Pool { tao, alpha };
            let limit = market.price().saturating_mul(percent) / 100;
            prop_assume!(limit > 0);
            let most = market.most_to_buy(limit);
            let net = most - fee_of(most);
            let out = market.buy(most).map_or(0, |trade| trade.out);
            // Compared by the part that moves the price, with the rounding of one rao.
            prop_assert!(most == 0 || u128::from(tao + net) * u128::from(UNIT) <= u128::from(limit) * u128::from(alpha - out) + u128::from(limit) + u128::from(UNIT));
            let most = market.most_to_sell(limit);
            prop_assert!(percent <= 100 || most == 0);
        }
    }
}
