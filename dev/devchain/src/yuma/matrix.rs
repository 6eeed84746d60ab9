//! Vectors and sparse matrices of consensus: one row for each validator, a cell only where something is set.

use super::fixed::Fixed;

/// One validator's cells: (uid it is about, value), in no promised order and at most one for each uid.
pub(super) type Row = Vec<(u16, Fixed)>;

/// Each number's share of their sum; unchanged where the sum is zero.
#[must_use]
pub(super) fn normalised(numbers: &[Fixed]) -> Vec<Fixed> {
    let sum: Fixed = numbers.iter().copied().sum();
    shares_of(numbers, sum)
}

/// Each number divided by `whole`; unchanged where that is zero.
#[must_use]
pub(super) fn shares_of(numbers: &[Fixed], whole: Fixed) -> Vec<Fixed> {
    if whole == Fixed::ZERO {
        return numbers.to_vec();
    }
    numbers.iter().map(|number| number.over(whole)).collect()
}

/// The sum of each row.
#[must_use]
pub(super) fn row_sums(rows: &[Row]) -> Vec<Fixed> {
    rows.iter().map(|row| row.iter().map(|(_, value)| *value).sum()).collect()
}

/// Makes each row sum to one; a row of zeroes stays.
pub(super) fn normalise_rows(rows: &mut [Row]) {
    for row in rows {
        let sum: Fixed = row.iter().map(|(_, value)| *value).sum();
        if sum > Fixed::ZERO {
            for (_, value) in row {
                *value = value.over(sum);
            }
        }
    }
}

/// Combines the cells of each column, in the order of the rows, into one number for each column.
#[must_use]
pub(super) fn fold_columns(rows: &[Row], columns: usize, combine: fn(Fixed, Fixed) -> Fixed) -> Vec<Fixed> {
    let mut folded = vec![Fixed::ZERO; columns];
    for (column, value) in rows.iter().flatten() {
        if let Some(cell) = folded.get_mut(usize::from(*column)) {
            *cell = combine(*cell, *value);
        }
    }
    folded
}

/// Divides each cell by its column's divisor; cells whose divisor is zero stay.
pub(super) fn divide_columns(rows: &mut [Row], divisors: &[Fixed]) {
    for (column, value) in rows.iter_mut().flatten() {
        let divisor = divisors.get(usize::from(*column)).copied().unwrap_or_default();
        if divisor > Fixed::ZERO {
            *value = value.over(divisor);
        }
    }
}

/// Multiplies each row by its factor, keeping what is not zero.
#[must_use]
pub(super) fn scale_rows(rows: &[Row], factors: &[Fixed]) -> Vec<Row> {
    rows.iter()
        .zip(factors)
        .map(|(row, factor)| {
            row.iter()
                .map(|(column, value)| (*column, value.times(*factor)))
                .filter(|(_, value)| *value > Fixed::ZERO)
                .collect()
        })
        .collect()
}

/// For each row, the sum of its cells times the vector's entry of their column.
#[must_use]
pub(super) fn times_vector(rows: &[Row], vector: &[Fixed]) -> Vec<Fixed> {
    rows.iter()
        .map(|row| {
            row.iter()
                .map(|(column, value)| {
                    value.times(vector.get(usize::from(*column)).copied().unwrap_or_default())
                })
                .sum()
        })
        .collect()
}

/// Both matrices' rows as dense rows of `columns`, joined cell by cell, zeroes dropped.
#[must_use]
pub(super) fn join(
    left: &[Row],
    right: &[Row],
    columns: usize,
    cell: impl Fn(Fixed, Fixed) -> Fixed,
) -> Vec<Row> {
    let dense = |row: Option<&Row>| {
        let mut values = vec![Fixed::ZERO; columns];
        for (column, value) in row.into_iter().flatten() {
            if let Some(slot) = values.get_mut(usize::from(*column)) {
                *slot = *value;
            }
        }
        values
    };
    (0..left.len().max(right.len()))
        .map(|row| {
            (0u16..)
                .zip(dense(left.get(row)).into_iter().zip(dense(right.get(row))))
                .map(|(column, (left, right))| (column, cell(left, right)))
                .filter(|(_, value)| *value > Fixed::ZERO)
                .collect()
        })
        .collect()
}

/// The stake-weighted median of a column: the smallest score such that the scores up to it hold more stake than
/// `minority`, and the largest score where none does. Entries are (stake, score).
#[must_use]
pub(super) fn weighted_median(entries: &mut [(Fixed, Fixed)], minority: Fixed) -> Fixed {
    entries.sort_unstable_by_key(|(_, score)| *score);
    let mut below = Fixed::ZERO;
    for (stake, score) in entries.iter() {
        below = below.plus(*stake);
        if below > minority {
            return *score;
        }
    }
    entries.last().map_or(Fixed::ZERO, |(_, score)| *score)
}

/// The stake-weighted median of every column over the rows with stake, `kappa` being the share that must agree.
#[must_use]
pub(super) fn weighted_medians(stakes: &[Fixed], rows: &[Row], columns: usize, kappa: Fixed) -> Vec<Fixed> {
    let voices: Vec<(usize, Fixed)> =
        stakes.iter().copied().enumerate().filter(|(_, stake)| *stake > Fixed::ZERO).collect();
    let shares = normalised(&voices.iter().map(|(_, stake)| *stake).collect::<Vec<_>>());
    let total: Fixed = shares.iter().copied().sum();
    let mut scores = vec![vec![Fixed::ZERO; voices.len()]; columns];
    for (position, (row, _)) in voices.iter().enumerate() {
        for (column, value) in rows.get(*row).into_iter().flatten() {
            if let Some(slot) =
                scores.get_mut(usize::from(*column)).and_then(|column| column.get_mut(position))
            {
                *slot = *value;
            }
        }
    }
    scores
        .into_iter()
        .map(|column| {
            let mut entries: Vec<(Fixed, Fixed)> = shares.iter().copied().zip(column).collect();
            weighted_median(&mut entries, total.minus(kappa))
        })
        .collect()
}
