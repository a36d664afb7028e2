# Makes of the lines of compare.sh a table, a line of JSON, and the ratios that it is all about.
#
# A line is algorithm, who, callers, signatures/s, raw signatures/s, p50 in ms, processor time in us and remark,
# with tabs between them and "-" for what is not known. A line that does not know its raw rate has the mean of the nearest
# lines "raw" of its algorithm before and after it.

BEGIN { FS = "\t" }

{
    algorithm[NR] = $1; who[NR] = $2; callers[NR] = $3; rate[NR] = $4
    raw[NR] = $5; p50[NR] = $6; cpu[NR] = $7; remark[NR] = $8
}

END {
    for (line = 1; line <= NR; line++) add(line)
    write_table()
    write_json()
    for (row = 1; row <= rows; row++)
        if (row_who[row] == "signerd") compare(row)
}

# Lines of the same algorithm, name and callers are the rounds of one row.
function add(line,    name, row) {
    name = algorithm[line] FS who[line] FS callers[line]
    if (!(name in row_of)) {
        row_of[name] = ++rows
        row_algorithm[rows] = algorithm[line]; row_who[rows] = who[line]; row_callers[rows] = callers[line]
    }
    row = row_of[name]
    row_remark[row] = remark[line]
    put("rate", row, rate[line])
    put("share", row, rate[line] / raw_rate(line))
    put("cpu", row, cpu[line])
    if (p50[line] != "-") put("p50", row, p50[line])
}

function raw_rate(line,    before, after) {
    if (who[line] == "raw") return rate[line]
    if (raw[line] != "-") return raw[line]
    for (before = line; !is_raw(before, line); before--);
    for (after = line; !is_raw(after, line); after++);
    return (rate[before] + rate[after]) / 2
}

# Says yes beyond the first and the last line too, or one who forgets a raw loop would wait for ever.
function is_raw(line, of) {
    return line < 1 || line > NR || (who[line] == "raw" && algorithm[line] == algorithm[of])
}

# Values are kept sorted.
function put(what, row, value,    at) {
    at = ++count[what, row]
    for (; at > 1 && values[what, row, at - 1] > value + 0; at--) values[what, row, at] = values[what, row, at - 1]
    values[what, row, at] = value + 0
}

function least(what, row) { return values[what, row, 1] }

function most(what, row) { return values[what, row, count[what, row]] }

function median(what, row,    n) {
    n = count[what, row]
    return (values[what, row, int((n + 1) / 2)] + values[what, row, int(n / 2) + 1]) / 2
}

function write_table(    row) {
    printf "%-10s%-13s%7s  %-26s%-23s%8s%9s  %s\n", "algorithm", "who", "callers", "signatures/s [min..max]",
        "of raw [min..max]", "p50, ms", "CPU, us", "remark"
    for (row = 1; row <= rows; row++)
        printf "%-10s%-13s%7s  %-26s%-23s%8s%9.0f  %s\n", row_algorithm[row], row_who[row], row_callers[row],
            spread("rate", row, median("rate", row) < 100 ? "%.1f" : "%.0f"), spread("share", row, "%.3f"),
            (("p50", row) in count) ? sprintf("%.2f", median("p50", row)) : "-",
            median("cpu", row), row_remark[row]
}

function spread(what, row, number) {
    return sprintf(number " [" number ".." number "]", median(what, row), least(what, row), most(what, row))
}

function write_json(    row) {
    for (row = 1; row <= rows; row++) {
        printf "%s{\"algorithm\":\"%s\",\"who\":\"%s\",\"callers\":%d,", row == 1 ? "[" : ",", row_algorithm[row],
            row_who[row], row_callers[row]
        printf "\"per_second\":%s,\"share\":%s,\"p50_ms\":%s,\"cpu_us\":%s,\"remark\":\"%s\"}", object("rate", row),
            object("share", row), (("p50", row) in count) ? median("p50", row) : "null", object("cpu", row),
            row_remark[row]
    }
    print "]"
}

function object(what, row) {
    return sprintf("{\"median\":%g,\"min\":%g,\"max\":%g}", median(what, row), least(what, row), most(what, row))
}

# signerd's share as a multiple of the best of each setting of Parsec, also by processor time, and why it is not
# twice that where it cannot be.
function compare(ours,    row, who, best) {
    for (row = 1; row <= rows; row++) {
        if (row_algorithm[row] != row_algorithm[ours] || row_who[row] !~ /^parsec/) continue
        who = row_who[row]
        if (!(who in best) || median("share", row) > median("share", best[who])) best[who] = row
    }
    for (row = 1; row <= rows; row++)
        if (row_who[row] in best && best[row_who[row]] == row) print comparison(ours, row)
}

function comparison(ours, theirs,    share, text) {
    share = median("share", theirs)
    text = sprintf("%s: signerd %.3f of the raw loop, %s at best %.3f (%d callers): %.2f times, by processor time %.2f",
        row_algorithm[ours], median("share", ours), row_who[theirs], share, row_callers[theirs],
        median("share", ours) / share, median("cpu", theirs) / median("cpu", ours))
    if (share > 0.5) text = text sprintf("; the raw loop itself is only %.2f times that", 1 / share)
    return text
}
