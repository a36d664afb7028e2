//! Every reason at its edge, and properties over generated records.

use proptest::prelude::*;

use super::*;
use crate::{
    evidence::Outcome,
    verdict::sample::{
        self, HOLDER_DIGEST, NOW, dose, entry, policy, record, rules, signed_by, statement,
    },
    warning::WarningCode,
};

/// The reasons against an entry by the sample's policy, as (code, path).
fn reasons(entry: &Entry<'_>) -> Vec<(&'static str, String)> {
    reasons_by(entry, &[])
}

/// The reasons by a policy in which some values are replaced.
fn reasons_by(entry: &Entry<'_>, replaced: &[(&str, &str)]) -> Vec<(&'static str, String)> {
    let policy = policy(replaced);
    match judge(entry, rules(&policy), &policy, NOW) {
        Ok(_) => Vec::new(),
        Err(reasons) => reasons.into_iter().map(|r| (r.code.as_str(), r.path)).collect(),
    }
}

/// Judges a record that is only spoiled in itself.
fn spoiled(spoil: impl FnOnce(&mut Record)) -> Vec<(&'static str, String)> {
    let mut record = record();
    spoil(&mut record);
    reasons(&entry(&record))
}

fn approved(record: &Record, selected: Option<&[u8]>) -> Approved {
    let policy = policy(&[]);
    judge(&Entry { selected, ..entry(record) }, rules(&policy), &policy, NOW).unwrap()
}

fn warnings(approved: &Approved) -> Vec<(WarningCode, String)> {
    approved.warnings().iter().map(|warning| (warning.code, warning.path.clone())).collect()
}

fn at(code: &'static str, path: &str) -> Vec<(&'static str, String)> {
    vec![(code, path.to_owned())]
}

mod approval {
    use super::*;

    #[test]
    fn a_record_in_order_is_approved() {
        // A record in order, with both statements, is approved with the fields of its certificates.
        let record = record();
        let approved = approved(&record, None);
        assert_eq!(approved.issuer(), "vn-moh");
        assert_eq!(approved.names().r#fn, "Nguyễn");
        assert_eq!(approved.names().gnt.as_deref(), Some("BAO<DUY"));
        assert_eq!(approved.date_of_birth(), "1983-10-10");
        assert_eq!(approved.warnings(), []);
        let [first, second] = approved.doses() else { panic!("two doses") };
        assert_eq!((first.number, first.dn, first.sd), (1, 1, 2));
        assert_eq!((second.number, second.dn, second.sd), (2, 2, 2));
        assert_eq!(second.date, "2021-07-20");
        assert_eq!(second.vaccine, "1119349007");
        assert_eq!(second.product, "EU/1/20/1528");
        assert_eq!(second.manufacturer, "ORG-100030215");
    }

    #[test]
    fn only_selected_doses_are_approved() {
        // The signer may select doses (R15); keys go with them, in the order of the doses.
        let record = record();
        let approved = approved(&record, Some(&[2]));
        assert_eq!(approved.doses().len(), 1);
        assert_eq!(approved.doses()[0].number, 2);
        let keys: Vec<_> = approved.dose_keys().cloned().collect();
        assert_eq!(
            keys,
            crate::dose_key::dose_keys(&record, sample::selection(&record, Some(&[2])))
        );
    }

    #[test]
    fn selecting_a_dose_twice_selects_it_once() {
        // A dose has one certificate, however often it is selected.
        assert_eq!(approved(&record(), Some(&[2, 2])).doses().len(), 1);
    }

    #[test]
    fn nothing_personal_is_printed() {
        // Neither a record nor a permission shows its content when it is printed for a log.
        let record = record();
        let approved = approved(&record, None);
        let printed = format!(
            "{record:?} {:?} {:?} {approved:?} {:?}",
            record.holder,
            record.doses,
            approved.doses()
        );
        assert!(
            printed.starts_with("Record { doses: 2, .. } Holder { .. } [Dose { number: 1, .. }")
        );
        assert!(printed.contains("Approved { doses: 2, .. } [ApprovedDose { number: 1, .. }"));
        for personal in ["Nguyễn", "NGUYEN", "1983", "0790", "2021", "EU/1", "TTYT"] {
            assert!(!printed.contains(personal), "{personal} in {printed}");
        }
    }

    /// Fields (dn, sd) of each dose of a record with these products.
    fn series(products: &[&str], first: u8) -> Vec<(u8, u8)> {
        let mut record = record();
        record.doses = Vec::new();
        for (number, product) in (first..).zip(products) {
            let mut dose = dose(number, &format!("2021-07-0{number}"));
            dose.product = (*product).to_owned();
            record.doses.push(dose);
        }
        record.total_doses = 9;
        let policy = policy(&[("code_combinations", "\"lenient\""), ("doses_per_record_max", "9")]);
        let approved = judge(&entry(&record), rules(&policy), &policy, NOW).unwrap();
        approved.doses().iter().map(|dose| (dose.dn, dose.sd)).collect()
    }

    const COMIRNATY: &str = "EU/1/20/1528";
    const JANSSEN: &str = "EU/1/20/1525";

    #[test]
    fn a_dose_counts_in_the_series_of_the_first() {
        // dn is the number; sd is the size of the first dose's series, or dn for a booster of it.
        assert_eq!(series(&[COMIRNATY; 4], 1), [(1, 2), (2, 2), (3, 3), (4, 4)]);
        assert_eq!(series(&["Abdala"; 4], 1), [(1, 3), (2, 3), (3, 3), (4, 4)]);
        assert_eq!(series(&["Abdala", COMIRNATY], 1), [(1, 3), (2, 3)]);
        assert_eq!(series(&[COMIRNATY, COMIRNATY, "Abdala"], 1), [(1, 2), (2, 2), (3, 3)]);
    }

    #[test]
    fn doses_after_a_series_of_one_are_2_of_1() {
        // After a series of one dose, boosters are written 2/1, 3/1 (EU rule of December 2021).
        assert_eq!(series(&[JANSSEN, COMIRNATY, COMIRNATY], 1), [(1, 1), (2, 1), (3, 1)]);
    }

    #[test]
    fn without_the_first_dose_its_own_series_counts() {
        // If the record lacks dose 1, the series is that of the dose's own product.
        assert_eq!(series(&[COMIRNATY, "Abdala", JANSSEN], 2), [(2, 2), (3, 3), (4, 1)]);
    }

    #[test]
    fn an_unselected_first_dose_still_names_the_series() {
        // The series is that of dose 1 if the record has it, even when it is not selected.
        let mut record = record();
        record.doses[0].product = JANSSEN.to_owned();
        let approved = approved(&record, Some(&[2]));
        assert_eq!((approved.doses()[0].dn, approved.doses()[0].sd), (2, 1));
    }
}

mod record_form {
    use super::*;

    #[test]
    fn a_record_has_doses_with_ascending_numbers() {
        // A record without doses, or whose numbers do not ascend from 1, is not judged further.
        let numbered = |first, second| {
            spoiled(|record| {
                record.doses[0].number = first;
                record.doses[1].number = second;
                record.holder.nationality = "XX".to_owned();
            })
        };
        assert_eq!(numbered(0, 1), at("record.invalid", "/record/doses/0/number"));
        assert_eq!(numbered(2, 2), at("record.invalid", "/record/doses/1/number"));
        assert_eq!(numbered(2, 1), at("record.invalid", "/record/doses/1/number"));
        assert_eq!(spoiled(|record| record.doses.clear()), at("record.invalid", "/record/doses"));
    }
}

mod holder_rules {
    use super::*;

    const NATIONAL_ID: &str = "/record/holder/national_id";

    fn with_id(
        national_id: Option<&str>,
        replaced: &[(&str, &str)],
    ) -> Vec<(&'static str, String)> {
        let mut record = record();
        record.holder.national_id = national_id.map(str::to_owned);
        reasons_by(&entry(&record), replaced)
    }

    #[test]
    fn a_vietnamese_holder_has_a_national_number() {
        // A Vietnamese without national number is rejected, also with a passport (group 1 of R18).
        assert_eq!(with_id(None, &[]), at("holder.id_missing", NATIONAL_ID));
        let with_passport = spoiled(|record| {
            record.holder.national_id = None;
            record.holder.passport = Some("B1234567".to_owned());
        });
        assert_eq!(with_passport, at("holder.id_missing", NATIONAL_ID));
    }

    #[test]
    fn a_foreigner_may_have_a_passport_instead() {
        // A foreigner needs a passport or a national number.
        let foreigner = |passport: Option<&str>| {
            spoiled(|record| {
                record.holder.nationality = "LA".to_owned();
                record.holder.national_id = None;
                record.holder.passport = passport.map(str::to_owned);
            })
        };
        assert_eq!(foreigner(Some("P1234567")), []);
        assert_eq!(foreigner(None), at("holder.id_missing", "/record/holder/passport"));
        assert_eq!(spoiled(|record| record.holder.nationality = "LA".to_owned()), []);
    }

    #[test]
    fn a_national_number_has_12_or_9_digits() {
        // CCCD 12 digits, CMND 9 digits; anything else is badly formed (group 2 of R18).
        for good in ["001123456789", "079083001234", "123456789"] {
            assert_eq!(with_id(Some(good), &[]), [], "{good}");
        }
        for bad in [
            "",
            "12345678",
            "1234567890",
            "0790830012345",
            "07908300123A",
            "079 83001234",
            "٠٧٩٠٨٣",
        ] {
            assert_eq!(with_id(Some(bad), &[]), at("holder.id_malformed", NATIONAL_ID), "{bad}");
        }
    }

    #[test]
    fn a_passport_has_5_to_20_capitals_and_digits() {
        // A passport number is 5 to 20 capital letters and digits, whoever holds it.
        let with_passport =
            |passport: &str| spoiled(|record| record.holder.passport = Some(passport.to_owned()));
        for good in ["B1234", "C12345678", "12345678901234567890"] {
            assert_eq!(with_passport(good), [], "{good}");
        }
        for bad in ["B123", "b1234567", "B 1234567", "B12345678901234567890", ""] {
            let expected = at("holder.id_malformed", "/record/holder/passport");
            assert_eq!(with_passport(bad), expected, "{bad}");
        }
    }

    #[test]
    fn a_strict_issuer_compares_a_cccd_with_the_record() {
        // Province, century and year of a CCCD agree with the record, where the rules are strict.
        let strict = [("id_check", "\"strict\"")];
        let contradiction = at("holder.id_malformed", NATIONAL_ID);
        for good in ["079083001234", "001183001234", "101083001234", "123456789"] {
            assert_eq!(with_id(Some(good), &strict), [], "{good}");
        }
        for bad in [
            "001123456789", // the decision's own example: born in 1923 by its number
            "079283001234", // born in 2083
            "079084001234", // born in 1984
            "003083001234", // no province
            "000083001234",
            "100083001234",
        ] {
            assert_eq!(with_id(Some(bad), &strict), contradiction, "{bad}");
            assert_eq!(with_id(Some(bad), &[]), [], "{bad}");
        }
    }

    #[test]
    fn strictness_knows_the_century_and_what_it_cannot_know() {
        // The sex digit's pair names the century; without a birth date only the province counts.
        let judged = |birth: &str, nationality: &str| {
            let mut record = record();
            record.holder.national_id = Some("079205001234".to_owned());
            record.holder.date_of_birth = birth.to_owned();
            record.holder.nationality = nationality.to_owned();
            let reasons = reasons_by(&entry(&record), &[("id_check", "\"strict\"")]);
            reasons.into_iter().map(|(code, _)| code).collect::<Vec<_>>()
        };
        assert_eq!(judged("2005", "VN"), [""; 0]);
        assert_eq!(judged("1905", "VN"), ["holder.id_malformed"]);
        assert_eq!(judged("2005-02-30", "VN"), ["holder.birth_date_invalid"]);
        // The structure is that of Vietnamese papers.
        assert_eq!(judged("1905", "LA"), [""; 0]);
    }

    #[test]
    fn a_birth_date_is_a_calendar_date() {
        // A birth date is a date, or a month or year of which the rest is unknown.
        let born = |date: &str| spoiled(|record| record.holder.date_of_birth = date.to_owned());
        for good in ["1983-10-10", "1983-10", "1983"] {
            assert_eq!(born(good), [], "{good}");
        }
        for bad in ["1983-13-01", "1983-02-29", "1899-01-01", "2100", "10/10/1983"] {
            assert_eq!(born(bad), at("holder.birth_date_invalid", "/record/holder/date_of_birth"));
        }
    }

    #[test]
    fn nobody_is_born_in_the_future() {
        // A birth date whose earliest day is after today in Viet Nam is refused.
        let born = |date: &str| {
            let reasons = spoiled(|record| record.holder.date_of_birth = date.to_owned());
            reasons.iter().any(|(code, _)| *code == "holder.birth_date_future")
        };
        assert!(!born("2022-04-15") && !born("2022-04") && !born("2022"));
        assert!(born("2022-04-16") && born("2022-05") && born("2023"));
    }

    #[test]
    fn a_name_can_be_written_as_a_certificate_needs_it() {
        // Each fault of a name is reported at the member it is about.
        let named = |full: &str, surname: Option<&str>| {
            spoiled(|record| {
                record.holder.full_name = full.to_owned();
                record.holder.surname = surname.map(str::to_owned);
            })
        };
        let full_name = "/record/holder/full_name";
        assert_eq!(named("Tôn Nữ Thị Ninh", Some("Tôn Nữ")), []);
        assert_eq!(named("Nguyễn 2", None), at("holder.name_invalid", full_name));
        assert_eq!(named("Иван", None), at("holder.name_not_transliterable", full_name));
        let surname = at("holder.surname_not_in_name", "/record/holder/surname");
        assert_eq!(named("Nguyễn Văn A", Some("Trần")), surname);
    }

    #[test]
    fn a_nationality_is_a_country() {
        // A nationality is a code of ISO 3166-1 alpha-2.
        let expected = at("holder.nationality_unknown", "/record/holder/nationality");
        assert_eq!(spoiled(|record| record.holder.nationality = "XX".to_owned()), expected);
        assert_eq!(spoiled(|record| record.holder.nationality = "vn".to_owned()), expected);
    }
}

mod dose_rules {
    use super::*;

    fn dated(first: &str, second: &str) -> Vec<(&'static str, String)> {
        spoiled(|record| {
            record.doses[0].date = first.to_owned();
            record.doses[1].date = second.to_owned();
        })
    }

    fn selecting(selected: &[u8], spoil: impl FnOnce(&mut Record)) -> Vec<(&'static str, String)> {
        let mut record = record();
        spoil(&mut record);
        reasons(&Entry { selected: Some(selected), ..entry(&record) })
    }

    #[test]
    fn what_is_selected_is_in_the_record() {
        // A selected number that the record lacks is reported at its place in the selection.
        assert_eq!(selecting(&[1, 3], |_| ()), at("dose.not_in_record", "/doses/1"));
        assert_eq!(selecting(&[], |_| ()), at("dose.not_in_record", "/doses"));
    }

    #[test]
    fn the_date_of_a_dose_exists() {
        // A dose has a calendar date; one that is none is reported once.
        assert_eq!(
            dated("2021-02-29", "2021-07-20"),
            at("dose.date_invalid", "/record/doses/0/date")
        );
        assert_eq!(
            dated("20/6/2021", "2021-07-20"),
            at("dose.date_invalid", "/record/doses/0/date")
        );
    }

    #[test]
    fn no_dose_is_given_tomorrow() {
        // A date after today in Viet Nam is refused; today is not.
        assert_eq!(dated("2021-06-20", "2022-04-15"), []);
        assert_eq!(
            dated("2021-06-20", "2022-04-16"),
            at("dose.date_future", "/record/doses/1/date")
        );
    }

    #[test]
    fn the_night_hours_belong_to_viet_nams_day() {
        // At 00:30 in Viet Nam, when UTC still has the day before, a dose of today is not in the future.
        let mut record = record();
        record.doses[1].date = "2022-04-15".to_owned();
        let policy = policy(&[]);
        let half_past_midnight = NOW - 9 * 3_600 - 1_800;
        let judged = |now| judge(&entry(&record), rules(&policy), &policy, now).is_ok();
        assert!(judged(half_past_midnight));
        assert!(!judged(half_past_midnight - 1_801));
    }

    #[test]
    fn no_dose_is_older_than_its_product() {
        // A dose before its product was given to anybody is refused; on that day it is not.
        assert_eq!(dated("2020-12-02", "2021-07-20"), []);
        let early = at("dose.date_too_early", "/record/doses/0/date");
        assert_eq!(dated("2020-12-01", "2021-07-20"), early);
        let abdala = |date: &str| {
            spoiled(|record| {
                record.doses.truncate(1);
                let dose = &mut record.doses[0];
                dose.date = date.to_owned();
                dose.product = "Abdala".to_owned();
                dose.manufacturer = "CIGB".to_owned();
                dose.vaccine = "J07BX03".to_owned();
            })
        };
        assert_eq!(abdala("2021-05-12"), []);
        assert_eq!(abdala("2021-05-11"), early);
    }

    #[test]
    fn a_product_without_a_first_day_has_that_of_all_vaccines() {
        // Where nothing is known of a product, the first vaccinations of all, 1 December 2020, count.
        let novavax = |date: &str| {
            spoiled(|record| {
                record.doses.truncate(1);
                let dose = &mut record.doses[0];
                dose.date = date.to_owned();
                dose.product = "CoronaVac".to_owned();
                dose.manufacturer = "Sinovac-Biotech".to_owned();
                dose.vaccine = "1157024006".to_owned();
            })
        };
        assert_eq!(novavax("2020-12-01"), []);
        assert_eq!(novavax("2020-11-30"), at("dose.date_too_early", "/record/doses/0/date"));
    }

    #[test]
    fn a_hasty_second_dose_is_a_warning() {
        // A dose of the series that follows sooner than the schedule allows is certified and noted.
        let warned = |spoil: &dyn Fn(&mut Record), selected: Option<&[u8]>| {
            let mut record = record();
            spoil(&mut record);
            warnings(&approved(&record, selected))
        };
        let second =
            |date: &'static str| move |record: &mut Record| record.doses[1].date = date.into();
        let hasty = [(WarningCode::IntervalShort, "/record/doses/1/date".to_owned())];
        assert_eq!(warned(&second("2021-07-10"), None), hasty);
        assert_eq!(warned(&second("2021-07-11"), None), []);
        assert_eq!(warned(&second("2021-07-10"), Some(&[1])), [], "it is not certified");
        let other_product = |record: &mut Record| {
            second("2021-06-21")(record);
            record.doses[1].product = "EU/1/20/1507".to_owned();
            record.doses[1].manufacturer = "ORG-100031184".to_owned();
        };
        assert_eq!(warned(&other_product, None), [], "no schedule is known for a mixed series");
        let booster = |record: &mut Record| {
            record.doses.push(dose(3, "2021-07-21"));
            record.total_doses = 3;
        };
        assert_eq!(warned(&booster, None), [], "a booster is beyond the series");
        let gap = |record: &mut Record| {
            second("2021-06-21")(record);
            record.doses[1].number = 3;
            record.total_doses = 3;
        };
        assert_eq!(warned(&gap, None), [], "the dose between is not in the record");
    }

    #[test]
    fn no_dose_is_given_before_birth() {
        // A dose before the earliest day of birth is refused; on that day it is not.
        let born = |date: &str| spoiled(|record| record.holder.date_of_birth = date.to_owned());
        assert_eq!(born("2021-06-20"), []);
        assert_eq!(born("2021"), []);
        assert_eq!(born("2021-06-21"), at("dose.before_birth", "/record/doses/0/date"));
        assert_eq!(born("2021-07"), at("dose.before_birth", "/record/doses/0/date"));
    }

    #[test]
    fn dates_ascend_strictly() {
        // Each dose is given on a later day than the one before it.
        let expected = at("dose.dates_not_ascending", "/record/doses/1/date");
        assert_eq!(dated("2021-07-20", "2021-07-20"), expected);
        assert_eq!(dated("2021-07-20", "2021-07-19"), expected);
        assert_eq!(dated("2021-07-19", "2021-07-20"), []);
    }

    #[test]
    fn each_date_is_compared_with_the_one_before() {
        // A dose is compared with its neighbour, so that one slip is reported once.
        let third = |second: &str, third: &str| {
            spoiled(|record| {
                record.doses[1].date = second.to_owned();
                record.doses.push(dose(3, third));
                record.total_doses = 3;
            })
        };
        assert_eq!(
            third("2021-12-20", "2021-11-20"),
            at("dose.dates_not_ascending", "/record/doses/2/date")
        );
        assert_eq!(
            third("2021-06-01", "2021-06-10"),
            at("dose.dates_not_ascending", "/record/doses/1/date")
        );
    }

    #[test]
    fn unselected_doses_count_for_the_order() {
        // The order is that of all doses, selected or not; a date that is none has no place in it.
        let third = |first: &str, second: &str| {
            selecting(&[3], |record| {
                record.doses[0].date = first.to_owned();
                record.doses[1].date = second.to_owned();
                record.doses.push(dose(3, "2021-12-20"));
                record.total_doses = 3;
            })
        };
        assert_eq!(third("2021-06-20", "2021-07-20"), []);
        assert_eq!(third("2021-06-20", "2021-02-30"), []);
        assert_eq!(
            third("2021-06-20", "2021-06-01"),
            at("dose.dates_not_ascending", "/record/doses/1/date")
        );
        assert_eq!(
            third("2021-12-20", "2021-02-30"),
            at("dose.dates_not_ascending", "/record/doses/2/date")
        );
    }

    #[test]
    fn unselected_doses_count_for_order_and_total_only() {
        // One bad dose that is selected rejects the record; unselected it does not.
        let spoil = |record: &mut Record| {
            record.doses[0].date = "2020-01-01".to_owned();
            record.doses[0].product = "X".to_owned();
            record.doses[0].vaccine = "X".to_owned();
            record.doses[0].manufacturer = "X".to_owned();
            record.doses[0].facility = "01-CDC-HN".to_owned();
        };
        assert_eq!(selecting(&[2], spoil), []);
        let codes: Vec<_> = spoiled(spoil).into_iter().map(|(code, _)| code).collect();
        assert_eq!(
            codes,
            [
                "dose.date_too_early",
                "dose.vaccine_unknown",
                "dose.product_unknown",
                "dose.manufacturer_unknown",
                "facility.not_its_dose",
            ]
        );
    }

    #[test]
    fn one_record_has_at_most_the_issuers_doses() {
        // At most three doses of one record are certified (R14); more in the record are no fault.
        let four = |record: &mut Record| {
            record.doses.push(dose(3, "2021-12-20"));
            record.doses.push(dose(4, "2022-03-20"));
            record.total_doses = 4;
        };
        assert_eq!(spoiled(four), at("dose.too_many", "/record/doses"));
        assert_eq!(selecting(&[1, 2, 3, 4], four), at("dose.too_many", "/doses"));
        assert_eq!(selecting(&[2, 3, 4], four), []);
    }

    #[test]
    fn the_total_covers_every_dose() {
        // The total is not below the greatest number of any dose, selected or not.
        assert_eq!(spoiled(|record| record.total_doses = 3), []);
        let expected = at("dose.total_inconsistent", "/record/total_doses");
        assert_eq!(spoiled(|record| record.total_doses = 1), expected);
        assert_eq!(selecting(&[1], |record| record.total_doses = 1), expected);
    }
}

mod code_rules {
    use super::*;

    /// A record whose second dose has these codes.
    fn coded(product: &str, manufacturer: &str, vaccine: &str) -> Record {
        let mut record = record();
        record.doses[1].product = product.to_owned();
        record.doses[1].manufacturer = manufacturer.to_owned();
        record.doses[1].vaccine = vaccine.to_owned();
        record
    }

    #[test]
    fn codes_are_of_the_value_sets() {
        // A code that no selected value set has is reported at its member.
        let judged = |p, m, v| reasons(&entry(&coded(p, m, v)));
        assert_eq!(
            judged("EU/1/20/9999", "ORG-100030215", "1119349007"),
            at("dose.product_unknown", "/record/doses/1/product")
        );
        assert_eq!(
            judged("EU/1/20/1528", "1232", "1119349007"),
            at("dose.manufacturer_unknown", "/record/doses/1/manufacturer")
        );
        assert_eq!(
            judged("EU/1/20/1528", "ORG-100030215", "J07BX"),
            at("dose.vaccine_unknown", "/record/doses/1/vaccine")
        );
    }

    #[test]
    fn the_policy_selects_the_value_sets() {
        // What is known depends on the sets that the policy selects.
        let vaxzevria = coded("EU/1/21/1529", "ORG-100001699", "29061000087103");
        assert_eq!(reasons(&entry(&vaxzevria)), []);
        let policy =
            Policy::parse(&sample::policy_text(&[]).replace(", \"eu-2.12.0\"", "")).unwrap();
        let reasons = judge(&entry(&vaxzevria), rules(&policy), &policy, NOW).unwrap_err();
        assert_eq!(
            reasons,
            [Reason::new(ReasonCode::DoseVaccineUnknown, "/record/doses/1/vaccine")]
        );
    }

    #[test]
    fn an_inactive_code_is_refused_from_its_day_on() {
        // A retired code is right for doses before it was retired, and unknown for later ones.
        let policy = policy(&[]);
        let novavax_of = |date: &str| {
            let mut record = coded("NVX-CoV2373", "ORG-100032020", "1162643001");
            record.doses[1].date = date.to_owned();
            let now = NOW + 2 * 366 * 86_400;
            let fresh = IdentityStatement { checked_at: now, ..statement() };
            let entry = Entry { identity: Evidence::Verified(fresh), ..entry(&record) };
            judge(&entry, rules(&policy), &policy, now).map_err(|r| r[0].code)
        };
        assert!(novavax_of("2022-11-29").is_ok());
        assert_eq!(novavax_of("2022-11-30").unwrap_err(), ReasonCode::DoseProductUnknown);
    }

    #[test]
    fn the_decisions_own_example_is_a_slip() {
        // Comirnaty as antigen vaccine: a strict issuer rejects it, a lenient one passes and counts it.
        let example = coded("EU/1/20/1528", "ORG-100030215", "1119305005");
        assert_eq!(reasons(&entry(&example)), at("dose.codes_inconsistent", "/record/doses/1"));
        let lenient = policy(&[("code_combinations", "\"lenient\"")]);
        let approved = judge(&entry(&example), rules(&lenient), &lenient, NOW).unwrap();
        let slip = (WarningCode::CodesInconsistent, "/record/doses/1".to_owned());
        assert_eq!(warnings(&approved), [slip]);
        assert_eq!(approved.doses()[1].vaccine, "1119305005");
    }

    #[test]
    fn a_wrong_manufacturer_is_a_slip() {
        // Vaxzevria by BioNTech, as the published sample has it, does not belong together.
        let sample = coded("EU/1/21/1529", "ORG-100030215", "J07BX03");
        assert_eq!(reasons(&entry(&sample)), at("dose.codes_inconsistent", "/record/doses/1"));
    }

    #[test]
    fn a_lenient_issuer_still_needs_known_codes() {
        // Lenient is about combinations: an unknown code is rejected by every issuer.
        let unknown = coded("Nothing", "ORG-100030215", "1119349007");
        assert_eq!(
            reasons_by(&entry(&unknown), &[("code_combinations", "\"lenient\"")]),
            at("dose.product_unknown", "/record/doses/1/product")
        );
    }
}

mod evidence_rules {
    use super::*;

    fn identified(identity: Evidence<IdentityStatement>) -> Vec<(&'static str, String)> {
        let record = record();
        reasons(&Entry { identity, ..entry(&record) })
    }

    fn stated(spoil: impl FnOnce(&mut IdentityStatement)) -> Vec<&'static str> {
        let mut statement = statement();
        spoil(&mut statement);
        let reasons = identified(Evidence::Verified(statement));
        assert!(reasons.iter().all(|(_, path)| path == "/identity_statement"), "{reasons:?}");
        reasons.into_iter().map(|(code, _)| code).collect()
    }

    fn signed(facility: Evidence<FacilitySigner>) -> Vec<(&'static str, String)> {
        let record = record();
        reasons(&Entry { facility, ..entry(&record) })
    }

    #[test]
    fn a_record_without_statement_is_rejected() {
        // Only records with the population database's statement may be signed (R11).
        let expected = at("identity.statement_missing", "/identity_statement");
        assert_eq!(identified(Evidence::Missing), expected);
    }

    #[test]
    fn an_asserting_issuer_does_without_statements() {
        // At the level "asserted" a statement may be missing; one that is there counts all the same.
        let judged = |identity| {
            let record = record();
            let entry = Entry { identity, ..entry(&record) };
            reasons_by(&entry, &[("assurance", "\"asserted\"")])
        };
        assert_eq!(judged(Evidence::Missing), []);
        assert_eq!(judged(Evidence::Verified(statement())), []);
        let mismatched = IdentityStatement { outcome: Outcome::Mismatched, ..statement() };
        assert_eq!(
            judged(Evidence::Verified(mismatched)),
            at("identity.mismatched", "/identity_statement")
        );
        let refused = Evidence::Refused(ReasonCode::IdentityStatementInvalid);
        assert_eq!(judged(refused), at("identity.statement_invalid", "/identity_statement"));
    }

    #[test]
    fn a_verifiers_statements_may_age_faster() {
        // Of the issuer's days and the verifier's, the fewer count.
        let days = |age: i64, own: u16| {
            stated(|s| {
                s.checked_at = NOW - age * 86_400;
                s.age_days_max = Some(own);
            })
        };
        assert_eq!(days(60, 60), [""; 0]);
        assert_eq!(days(61, 60), ["identity.statement_stale"]);
        assert_eq!(days(90, 366), [""; 0]);
        assert_eq!(days(91, 366), ["identity.statement_stale"]);
    }

    #[test]
    fn a_refused_statement_gives_its_one_reason() {
        // A statement whose signer or signature failed gives that one code.
        for code in [ReasonCode::IdentityStatementInvalid, ReasonCode::IdentityVerifierUnknown] {
            assert_eq!(
                identified(Evidence::Refused(code)),
                at(code.as_str(), "/identity_statement")
            );
        }
    }

    #[test]
    fn a_statement_ages() {
        // A statement is good for the issuer's days and not a second longer.
        assert_eq!(stated(|s| s.checked_at = NOW - 90 * 86_400), [""; 0]);
        assert_eq!(stated(|s| s.checked_at = NOW - 90 * 86_400 - 1), ["identity.statement_stale"]);
        assert_eq!(stated(|s| s.checked_at = i64::MIN), ["identity.statement_stale"]);
    }

    #[test]
    fn a_statement_is_not_from_the_future() {
        // A statement may be five minutes ahead of our clock and not a second more.
        assert_eq!(stated(|s| s.checked_at = NOW + 300), [""; 0]);
        assert_eq!(stated(|s| s.checked_at = NOW + 301), ["identity.statement_invalid"]);
        assert_eq!(stated(|s| s.checked_at = i64::MAX), ["identity.statement_invalid"]);
    }

    #[test]
    fn a_statement_is_about_this_holder() {
        // A statement about other holder data proves nothing, whatever it says.
        let differs = |outcome| {
            stated(|s| {
                s.holder_digest[31] ^= 1;
                s.outcome = outcome;
            })
        };
        assert_eq!(differs(Outcome::Matched), ["identity.holder_differs"]);
        assert_eq!(differs(Outcome::Mismatched), ["identity.holder_differs"]);
    }

    #[test]
    fn the_database_must_say_matched() {
        // A person whose data differ, or who is not found, goes back for review (group 3 of R18).
        assert_eq!(stated(|s| s.outcome = Outcome::Mismatched), ["identity.mismatched"]);
        assert_eq!(stated(|s| s.outcome = Outcome::NotFound), ["identity.not_found"]);
        let old_and_unknown = stated(|s| {
            s.outcome = Outcome::NotFound;
            s.checked_at = 0;
        });
        assert_eq!(old_and_unknown, ["identity.statement_stale", "identity.not_found"]);
    }

    #[test]
    fn a_record_without_signature_is_rejected() {
        // Only records that a facility signed may be certified (R12).
        let expected = at("facility.signature_missing", "/facility_signature");
        assert_eq!(signed(Evidence::Missing), expected);
    }

    #[test]
    fn an_issuer_may_do_without_signatures() {
        // Where a signature is optional it may be missing; one that is there counts all the same.
        let judged = |facility| {
            let record = record();
            let entry = Entry { facility, ..entry(&record) };
            reasons_by(&entry, &[("facility_signature", "\"optional\"")])
        };
        assert_eq!(judged(Evidence::Missing), []);
        assert_eq!(judged(signed_by("79-TTYT-Q1")), []);
        assert_eq!(judged(signed_by("01-CDC-HN"))[0].0, "facility.not_its_dose");
        let refused = Evidence::Refused(ReasonCode::FacilityCertificateRevoked);
        assert_eq!(judged(refused), at("facility.certificate_revoked", "/facility_signature"));
    }

    #[test]
    fn an_issuer_certifies_doses_of_its_territory() {
        // A dose given at a unit that the issuer does not cover is refused, whoever signed it.
        let judged = |rules: &[(&str, &str)]| {
            let record = record();
            reasons_by(&entry(&record), rules)
        };
        let outside: Vec<_> = [0, 1]
            .map(|dose| ("facility.not_of_issuer", format!("/record/doses/{dose}/facility")))
            .into();
        assert_eq!(judged(&[("facilities", "[\"79-TTYT-Q1\"]"), ("areas", "[\"01\"]")]), []);
        assert_eq!(judged(&[("areas", "[\"79760\"]")]), []);
        assert_eq!(judged(&[("areas", "[\"7\", \"797\"]")]), outside);
        assert_eq!(judged(&[("areas", "[\"01\"]")]), outside);
    }

    #[test]
    fn a_refused_signature_gives_its_one_reason() {
        // A signature whose signer or form failed gives that one code, and no dose is looked at.
        for code in ReasonCode::ALL.iter().filter(|code| code.as_str().starts_with("facility.")) {
            assert_eq!(signed(Evidence::Refused(*code)), at(code.as_str(), "/facility_signature"));
        }
    }

    #[test]
    fn a_unit_signs_its_own_doses() {
        // A dose is signed by the unit that gave it, its manager or a delegate by the registry (R13).
        for unit in ["79-TTYT-Q1", "79-SYT", "79-CDC"] {
            assert_eq!(signed(signed_by(unit)), [], "{unit}");
        }
        assert_eq!(
            signed(signed_by("01-CDC-HN")),
            [
                ("facility.not_its_dose", "/record/doses/0/facility".to_owned()),
                ("facility.not_its_dose", "/record/doses/1/facility".to_owned()),
            ]
        );
    }

    #[test]
    fn the_record_cannot_name_its_manager() {
        // The managing unit that the record claims proves nothing; only the registry does.
        let mut record = record();
        for dose in &mut record.doses {
            dose.managing_facility = Some("01-CDC-HN".to_owned());
        }
        let judged = reasons(&Entry { facility: signed_by("01-CDC-HN"), ..entry(&record) });
        assert_eq!(judged.len(), 2);
        // Nor does a claim take the right away from the unit that gave the dose.
        assert_eq!(reasons(&entry(&record)), []);
    }

    #[test]
    fn one_dose_of_another_unit_rejects_the_record() {
        // Each selected dose must be the signer's; another unit's is reported at its place.
        let mut record = record();
        record.doses[1].facility = "01-CDC-HN".to_owned();
        assert_eq!(
            reasons(&entry(&record)),
            at("facility.not_its_dose", "/record/doses/1/facility")
        );
        // A unit that is in no register may have given a dose; then only it could sign.
        record.doses[1].facility = "99-NOWHERE".to_owned();
        let path = "/record/doses/1/facility".to_owned();
        assert_eq!(
            reasons(&entry(&record)),
            [("facility.not_its_dose", path.clone()), ("facility.not_of_issuer", path)]
        );
    }
}

mod all_together {
    use super::*;

    #[test]
    fn every_reason_is_given_in_order() {
        // All reasons that apply are given, from record, identity and facility, in the table's order.
        let mut record = record();
        record.holder.full_name = "Nguyễn 2".to_owned();
        record.holder.national_id = Some("12".to_owned());
        record.doses[0].date = "2021-06-31".to_owned();
        record.doses[1].vaccine = "X".to_owned();
        record.total_doses = 1;
        let reasons = reasons(&Entry {
            identity: Evidence::Missing,
            facility: signed_by("01-CDC-HN"),
            ..entry(&record)
        });
        let codes: Vec<_> = reasons.iter().map(|(code, _)| *code).collect();
        assert_eq!(
            codes,
            [
                "holder.id_malformed",
                "holder.name_invalid",
                "dose.date_invalid",
                "dose.total_inconsistent",
                "dose.vaccine_unknown",
                "identity.statement_missing",
                "facility.not_its_dose",
                "facility.not_its_dose",
            ]
        );
    }

    #[test]
    fn without_a_time_nothing_is_certified() {
        // At a time that is no time, every record is rejected.
        let record = record();
        let policy = policy(&[]);
        for now in [i64::MIN, i64::MAX] {
            assert!(judge(&entry(&record), rules(&policy), &policy, now).is_err());
        }
    }

    /// Values for a member: mostly good ones, so that approvals happen, and everything else.
    fn text(good: &'static [&'static str]) -> impl Strategy<Value = String> {
        prop_oneof![8 => prop::sample::select(good).prop_map(str::to_owned), 1 => ".{0,12}"]
    }

    prop_compose! {
        fn any_dose()(
            number in 0u8..6,
            date in text(&["2021-06-20", "2021-07-20", "2022-01-20", "2021-02-29", "2030-01-01"]),
            vaccine in text(&["1119349007", "J07BX03"]),
            product in text(&["EU/1/20/1528", "Abdala"]),
            manufacturer in text(&["ORG-100030215", "CIGB"]),
            facility in text(&["79-TTYT-Q1", "01-CDC-HN"]),
        ) -> Dose {
            Dose { number, date, vaccine, product, manufacturer, facility, managing_facility: None }
        }
    }

    prop_compose! {
        fn any_record()(
            full_name in text(&["Nguyễn Văn A", "Suharto", "Lê 2"]),
            surname in prop::option::weighted(0.2, text(&["Nguyễn", "Lê"])),
            date_of_birth in text(&["1983-10-10", "1999", "2021-07"]),
            nationality in text(&["VN", "LA"]),
            national_id in prop::option::weighted(0.8, text(&["079083001234", "123456789"])),
            passport in prop::option::weighted(0.3, text(&["B1234567"])),
            mut doses in prop::collection::vec(any_dose(), 0..4),
            is_sorted: bool,
            total_doses in 0u8..6,
        ) -> Record {
            if is_sorted {
                doses.sort_by_key(|dose| dose.number);
            }
            let holder = Holder { full_name, surname, date_of_birth, nationality, national_id, passport };
            Record { holder, doses, total_doses }
        }
    }

    use crate::record::{Dose, Holder};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn every_verdict_is_sound(
            record in any_record(),
            selected in prop::option::of(prop::collection::vec(0u8..6, 0..4)),
            evidence in 0u8..4,
            now in prop_oneof![9 => Just(NOW), 1 => any::<i64>()],
        ) {
            // Whatever comes in: a rejection has sorted reasons, each once, and an approval has what a
            // certificate needs and both statements behind it. The verdict is the same a second time.
            let policy = policy(&[]);
            let judged = || {
                let identity = if evidence & 1 == 0 { Evidence::Verified(statement()) } else { Evidence::Missing };
                let facility = if evidence & 2 == 0 { signed_by("79-TTYT-Q1") } else { Evidence::Missing };
                let entry = Entry {
                    record: &record,
                    selected: selected.as_deref(),
                    holder_digest: HOLDER_DIGEST,
                    identity,
                    facility,
                };
                judge(&entry, rules(&policy), &policy, now)
            };
            match judged() {
                Ok(approved) => {
                    prop_assert_eq!(evidence, 0);
                    prop_assert!((1..=3).contains(&approved.doses().len()));
                    prop_assert_eq!(approved.dose_keys().len(), approved.doses().len());
                    prop_assert!(approved.doses().is_sorted_by(|a, b| a.number < b.number && a.date < b.date));
                    prop_assert!(approved.doses().iter().all(|dose| dose.dn >= 1 && dose.sd >= 1));
                    prop_assert!(judged().is_ok());
                }
                Err(reasons) => {
                    prop_assert!(!reasons.is_empty());
                    prop_assert!(reasons.is_sorted_by(|a, b| a < b));
                    prop_assert_eq!(judged().unwrap_err(), reasons);
                }
            }
        }
    }
}
