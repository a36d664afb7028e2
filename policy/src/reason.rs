//! Why a record is not certified: the stable codes, their order, and what to do about each.
//!
//! The one table below is the whole of it. Its order is the order of the published contract, and so
//! the order in which reasons are reported. A `detail` speaks to the person who has to repair the
//! record, in English to the issuing system's operator and in Vietnamese to the facility; it holds no
//! personal data, since it is a constant.

use std::fmt;

/// Writes the enum, its texts and its list from one table, so that they cannot disagree.
macro_rules! reason_codes {
    ($($variant:ident $text:literal $detail:literal $detail_vi:literal;)+) => {
        /// One reason why a record is not certified; declared, and so ordered, as in the contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ReasonCode {
            $(#[doc = concat!("`", $text, "`: ", $detail, ".")] $variant,)+
        }

        impl ReasonCode {
            /// Every code, in the order of the contract.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable text of the code.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// What to do about it, in English, without personal data.
            pub fn detail(self) -> &'static str {
                match self { $(Self::$variant => $detail,)+ }
            }

            /// The same in Vietnamese, for the people who repair records.
            pub fn detail_vi(self) -> &'static str {
                match self { $(Self::$variant => $detail_vi,)+ }
            }
        }
    };
}

reason_codes! {
    RecordMalformed "record.malformed"
        "the bytes of the record are not well-formed CBOR; encode the record again and have it signed again"
        "dữ liệu bản ghi không đúng cấu trúc CBOR; mã hóa lại bản ghi và ký số lại";
    RecordNotDeterministic "record.not_deterministic"
        "the record is not deterministically encoded (RFC 8949 section 4.2.1); encode it again and have it signed again"
        "bản ghi không được mã hóa theo dạng CBOR duy nhất (RFC 8949 mục 4.2.1); mã hóa lại bản ghi và ký số lại";
    RecordInvalid "record.invalid"
        "the record does not have the form of the contract; correct the named member and have the record signed again"
        "bản ghi không đúng cấu trúc quy định; sửa trường thông tin được nêu và ký số lại bản ghi";

    HolderIdMissing "holder.id_missing"
        "there is no identity number; give the CCCD or CMND number, or for a foreigner the passport number"
        "không có số định danh; bổ sung số CCCD hoặc CMND, đối với người nước ngoài bổ sung số hộ chiếu";
    HolderIdMalformed "holder.id_malformed"
        "the identity number is not well formed; a CCCD has 12 digits and agrees with the birth date, a CMND has 9 digits, a passport number has 5 to 20 capital letters and digits"
        "số định danh sai định dạng; đối chiếu với giấy tờ và sửa: CCCD có 12 chữ số và phù hợp với ngày sinh, CMND có 9 chữ số, số hộ chiếu có từ 5 đến 20 chữ cái in hoa và chữ số";
    HolderBirthDateInvalid "holder.birth_date_invalid"
        "the birth date is not a calendar date from 1900 to 2099; give YYYY-MM-DD, YYYY-MM or YYYY as on the identity paper"
        "ngày sinh không phải là ngày có thật từ năm 1900 đến năm 2099; nhập lại theo giấy tờ tùy thân, dạng YYYY-MM-DD, YYYY-MM hoặc YYYY";
    HolderBirthDateFuture "holder.birth_date_future"
        "the birth date is in the future; correct it from the identity paper"
        "ngày sinh sau ngày hiện tại; sửa lại theo giấy tờ tùy thân";
    HolderNameInvalid "holder.name_invalid"
        "the name is empty or contains digits, symbols or control characters; give it as on the identity paper"
        "họ tên để trống hoặc có chữ số, ký hiệu, ký tự điều khiển; nhập lại đúng như trên giấy tờ tùy thân";
    HolderNameNotTransliterable "holder.name_not_transliterable"
        "the name, or its surname or given name alone, cannot be written in Latin capitals by ICAO Doc 9303-3; give it in Latin letters as in the passport"
        "họ tên, hoặc riêng phần họ hay phần tên, không chuyển được sang chữ La-tinh in hoa theo ICAO Doc 9303-3; nhập bằng chữ La-tinh như trên hộ chiếu";
    HolderSurnameNotInName "holder.surname_not_in_name"
        "the surname is not the leading words of the full name; correct one of them, or leave the surname out to use the first word"
        "phần họ không phải là những chữ đầu của họ tên; sửa một trong hai, hoặc để trống phần họ để lấy chữ đầu tiên của họ tên";
    HolderNationalityUnknown "holder.nationality_unknown"
        "the nationality is not a country code of ISO 3166-1 alpha-2; Viet Nam is VN"
        "quốc tịch không phải là mã quốc gia hai chữ cái theo ISO 3166-1; sửa lại mã quốc tịch, Việt Nam là VN";

    DoseNotInRecord "dose.not_in_record"
        "a selected dose is not in the record; select numbers of doses that the record has"
        "mũi tiêm được chọn không có trong bản ghi; chỉ chọn các mũi tiêm có trong bản ghi";
    DoseDateInvalid "dose.date_invalid"
        "the date of the dose is not a calendar date; give YYYY-MM-DD"
        "ngày tiêm không phải là ngày có thật; nhập lại theo dạng YYYY-MM-DD";
    DoseDateFuture "dose.date_future"
        "the date of the dose is in the future in Viet Nam; correct it"
        "ngày tiêm sau ngày hiện tại theo giờ Việt Nam; sửa lại ngày tiêm";
    DoseDateTooEarly "dose.date_too_early"
        "the dose is dated before its product was given to anybody outside trials; correct date or product"
        "ngày tiêm trước khi sản phẩm vắc xin này được tiêm ngoài thử nghiệm lâm sàng; sửa lại ngày tiêm hoặc sản phẩm";
    DoseBeforeBirth "dose.before_birth"
        "the dose is dated before the holder's birth; correct one of the dates"
        "ngày tiêm trước ngày sinh; sửa lại ngày tiêm hoặc ngày sinh";
    DoseDatesNotAscending "dose.dates_not_ascending"
        "the dose is not dated after the one before it; correct the dates or the numbers of the doses"
        "ngày tiêm không sau ngày của mũi tiêm liền trước; sửa lại ngày tiêm hoặc số thứ tự mũi tiêm";
    DoseTooMany "dose.too_many"
        "more doses are to be certified than the issuer allows for one record; select fewer"
        "số mũi tiêm đề nghị ký vượt quá giới hạn cho một bản ghi; chọn ít mũi tiêm hơn";
    DoseTotalInconsistent "dose.total_inconsistent"
        "the total number of doses is below the greatest dose number; correct it"
        "tổng số mũi tiêm nhỏ hơn số thứ tự mũi tiêm lớn nhất; sửa lại tổng số mũi tiêm";
    DoseVaccineUnknown "dose.vaccine_unknown"
        "the vaccine type was in none of the issuer's value sets on the day of the dose; use a code of the decision's section 4.2 or of the EU's value sets"
        "mã loại vắc xin không có trong danh mục áp dụng tại ngày tiêm; dùng mã tại mục 4.2 của Quyết định 5772/QĐ-BYT hoặc trong danh mục của Liên minh châu Âu";
    DoseProductUnknown "dose.product_unknown"
        "the product was in none of the issuer's value sets on the day of the dose; use a code of the decision's section 4.3 or of the EU's value sets"
        "mã sản phẩm vắc xin không có trong danh mục áp dụng tại ngày tiêm; dùng mã tại mục 4.3 của Quyết định 5772/QĐ-BYT hoặc trong danh mục của Liên minh châu Âu";
    DoseManufacturerUnknown "dose.manufacturer_unknown"
        "the manufacturer was in none of the issuer's value sets on the day of the dose; use a code of the decision's section 4.4 or of the EU's value sets"
        "mã nhà sản xuất không có trong danh mục áp dụng tại ngày tiêm; dùng mã tại mục 4.4 của Quyết định 5772/QĐ-BYT hoặc trong danh mục của Liên minh châu Âu";
    DoseCodesInconsistent "dose.codes_inconsistent"
        "product, vaccine type and manufacturer do not belong together; correct the wrong one"
        "mã sản phẩm, mã loại vắc xin và mã nhà sản xuất không phù hợp với nhau; sửa lại mã sai";

    IdentityStatementMissing "identity.statement_missing"
        "the statement of the national population database is missing; have the holder checked and attach it"
        "thiếu kết quả xác thực của Cơ sở dữ liệu quốc gia về dân cư; thực hiện xác thực và gửi kèm kết quả";
    IdentityStatementInvalid "identity.statement_invalid"
        "the statement of the national population database is malformed, wrongly signed or dated in the future; have the holder checked again"
        "kết quả xác thực của Cơ sở dữ liệu quốc gia về dân cư sai cấu trúc, sai chữ ký hoặc ghi thời điểm trong tương lai; thực hiện xác thực lại";
    IdentityVerifierUnknown "identity.verifier_unknown"
        "the identity statement is signed by a verifier that is not registered; have the holder checked by the national population database"
        "kết quả xác thực do hệ thống chưa được đăng ký ký số; thực hiện xác thực với Cơ sở dữ liệu quốc gia về dân cư";
    IdentityStatementStale "identity.statement_stale"
        "the identity statement is too old; have the holder checked again"
        "kết quả xác thực đã quá thời hạn cho phép; thực hiện xác thực lại";
    IdentityHolderDiffers "identity.holder_differs"
        "the identity statement is about other holder data than the record's; have exactly this holder checked"
        "kết quả xác thực không ứng với thông tin cá nhân trong bản ghi; thực hiện xác thực lại đúng với thông tin trong bản ghi";
    IdentityMismatched "identity.mismatched"
        "the national population database has other data for this person; review the record with the holder"
        "thông tin không khớp với Cơ sở dữ liệu quốc gia về dân cư; rà soát, đối chiếu với người được tiêm chủng, sửa và xác thực lại";
    IdentityNotFound "identity.not_found"
        "the national population database does not know this person; review the record with the holder"
        "không tìm thấy người này trong Cơ sở dữ liệu quốc gia về dân cư; rà soát, đối chiếu với người được tiêm chủng, sửa và xác thực lại";

    FacilitySignatureMissing "facility.signature_missing"
        "the facility's signature is missing; have the facility sign the record"
        "thiếu chữ ký số của cơ sở tiêm chủng; cơ sở tiêm chủng thực hiện ký số bản ghi";
    FacilitySignatureInvalid "facility.signature_invalid"
        "the facility's signature is malformed or does not fit the bytes of the record; have the record signed again"
        "chữ ký số của cơ sở tiêm chủng sai cấu trúc hoặc không khớp với nội dung bản ghi; ký số lại bản ghi";
    FacilityCertificateUnregistered "facility.certificate_unregistered"
        "the certificate that signed the record is not registered for any unit; register its issuer and serial number first"
        "chứng thư số đã ký bản ghi chưa được đăng ký cho đơn vị nào; đăng ký cơ quan cấp và số sê-ri của chứng thư số trước khi ký";
    FacilityCertificateUntrusted "facility.certificate_untrusted"
        "the certificate that signed the record is not an organisation certificate of a trusted authority; sign with one that is"
        "chứng thư số đã ký bản ghi không phải là chứng thư số tổ chức do cơ quan được tin cậy cấp; ký lại bằng chứng thư số tổ chức hợp lệ";
    FacilityCertificateExpired "facility.certificate_expired"
        "the certificate that signed the record is not valid at this time; sign with a valid one"
        "chứng thư số đã ký bản ghi không có hiệu lực tại thời điểm này; ký lại bằng chứng thư số còn hiệu lực";
    FacilityCertificateRevoked "facility.certificate_revoked"
        "the certificate that signed the record is revoked; register a new one and sign again"
        "chứng thư số đã ký bản ghi đã bị thu hồi; đăng ký chứng thư số mới và ký lại";
    FacilityNotItsDose "facility.not_its_dose"
        "the signing unit neither gave the dose nor manages the unit that gave it nor is its delegate by the registry; have the right unit sign"
        "đơn vị ký không phải là nơi tiêm, đơn vị quản lý hoặc đơn vị được ủy quyền theo danh sách đăng ký; đề nghị đúng đơn vị thực hiện ký số";
    FacilityNotOfIssuer "facility.not_of_issuer"
        "the issuer does not certify doses of the unit that gave this one; send it to the issuer that covers the unit, or correct the unit"
        "đơn vị cấp không ký xác nhận các mũi tiêm của cơ sở tiêm này; gửi đến đơn vị cấp phụ trách cơ sở đó, hoặc sửa lại cơ sở tiêm";

    DoseAlreadyCertified "dose.already_certified"
        "the dose is certified already in another batch; use that certificate"
        "mũi tiêm đã được cấp chứng nhận ở lượt ký khác; sử dụng chứng nhận đã cấp";
    DoseInProgress "dose.in_progress"
        "another batch is certifying the dose right now; repeat later"
        "mũi tiêm đang được ký ở lượt ký khác; gửi lại sau";
}

impl ReasonCode {
    /// Reads the stable text of a code.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }

    /// The group of the review lists (Công văn 1908, Annex 03) that the code belongs to, if any.
    pub fn group(self) -> Option<Group> {
        match self {
            Self::HolderIdMissing => Some(Group::NoIdentityNumber),
            Self::HolderIdMalformed => Some(Group::MalformedIdentityNumber),
            Self::IdentityMismatched | Self::IdentityNotFound => Some(Group::IdentityNotMatched),
            _ => None,
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The three groups in which rejected people go back for review (Công văn 1908, Annex 03).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Group 1: no identity number.
    NoIdentityNumber,
    /// Group 2: the identity number is badly formed.
    MalformedIdentityNumber,
    /// Group 3: the identity did not match.
    IdentityNotMatched,
}

impl Group {
    /// The number of the group in the annex.
    pub fn number(self) -> u8 {
        match self {
            Self::NoIdentityNumber => 1,
            Self::MalformedIdentityNumber => 2,
            Self::IdentityNotMatched => 3,
        }
    }
}

/// One reason at one place of an entry; sorts by the contract's order, then by place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reason {
    /// What is wrong.
    pub code: ReasonCode,
    /// Where: a JSON Pointer from the record-entry, for example `/record/doses/0/date`.
    pub path: String,
}

impl Reason {
    /// States that `code` applies at `path`.
    pub fn new(code: ReasonCode, path: impl Into<String>) -> Self {
        Self { code, path: path.into() }
    }

    /// What to do about it, in English, without personal data.
    pub fn detail(&self) -> &'static str {
        self.code.detail()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.code, self.path, self.detail())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_unique_and_read_back() {
        // Every code has a text of its own, and the text reads back as that code.
        let texts: std::collections::BTreeSet<_> =
            ReasonCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), ReasonCode::ALL.len());
        for &code in ReasonCode::ALL {
            assert_eq!(ReasonCode::parse(code.as_str()), Some(code));
        }
        assert_eq!(ReasonCode::parse("holder.unheard_of"), None);
    }

    #[test]
    fn a_reason_prints_with_its_place_and_remedy() {
        // For people a reason is its code, its place, and what to do.
        let reason = Reason::new(ReasonCode::DoseInProgress, "/record/doses/0");
        let remedy = ReasonCode::DoseInProgress.detail();
        assert_eq!(reason.detail(), remedy);
        assert_eq!(reason.to_string(), format!("dose.in_progress at /record/doses/0: {remedy}"));
    }

    #[test]
    fn details_say_what_to_do_in_one_line() {
        // A detail is a lower-case line without a full stop that says what is wrong; what to do.
        for code in ReasonCode::ALL {
            let detail = code.detail();
            assert!(detail.contains("; "), "{code} does not say what to do");
            assert!(!detail.ends_with('.') && !detail.contains('\n'), "{code}");
            assert!(detail.starts_with(|c: char| c.is_ascii_lowercase()), "{code}");
        }
    }

    #[test]
    fn every_code_speaks_vietnamese() {
        // The Vietnamese detail has the same form, is composed (NFC), is no other code's, and is not
        // the English one.
        use unicode_normalization::UnicodeNormalization as _;
        let mut seen = std::collections::BTreeSet::new();
        for code in ReasonCode::ALL {
            let detail = code.detail_vi();
            assert!(detail.contains("; "), "{code} does not say what to do");
            assert!(!detail.ends_with('.') && !detail.contains('\n'), "{code}");
            assert!(detail.starts_with(char::is_lowercase), "{code}");
            assert!(detail.nfc().eq(detail.chars()), "{code} is not composed");
            assert!(detail.contains(|c: char| !c.is_ascii()), "{code} is not Vietnamese");
            assert!(seen.insert(detail), "{code} says what another code says");
        }
    }

    #[test]
    fn order_is_the_contracts_order() {
        // Reasons sort by the order of the contract's table, then by path.
        assert!(ReasonCode::ALL.is_sorted());
        let mut reasons = [
            Reason::new(ReasonCode::FacilityNotItsDose, "/record/doses/0/facility"),
            Reason::new(ReasonCode::DoseDateInvalid, "/record/doses/1/date"),
            Reason::new(ReasonCode::DoseDateInvalid, "/record/doses/0/date"),
            Reason::new(ReasonCode::HolderIdMissing, "/record/holder/national_id"),
        ];
        reasons.sort();
        let order: Vec<_> = reasons.iter().map(|r| (r.code.as_str(), r.path.as_str())).collect();
        assert_eq!(
            order,
            [
                ("holder.id_missing", "/record/holder/national_id"),
                ("dose.date_invalid", "/record/doses/0/date"),
                ("dose.date_invalid", "/record/doses/1/date"),
                ("facility.not_its_dose", "/record/doses/0/facility"),
            ]
        );
    }

    #[test]
    fn groups_are_those_of_the_annex() {
        // Group 1 is no number, group 2 a badly formed one, group 3 an identity that did not match.
        let group = |n| -> Vec<_> {
            let of = |code: &&ReasonCode| code.group().map(Group::number) == Some(n);
            ReasonCode::ALL.iter().filter(of).map(|code| code.as_str()).collect()
        };
        assert_eq!(group(1), ["holder.id_missing"]);
        assert_eq!(group(2), ["holder.id_malformed"]);
        assert_eq!(group(3), ["identity.mismatched", "identity.not_found"]);
    }
}
