//! Names for sample people: data only.
//!
//! The given names are chosen so that together they hold every letter with a diacritic that
//! Vietnamese has (a test counts them). Some are rare for that reason, none is invented to mock.

/// Which given and middle names go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sex {
    /// Nam.
    Male,
    /// Nữ.
    Female,
}

/// Surnames, the frequent ones more than once.
pub(super) const SURNAMES: &[&str] = &[
    "Nguyễn",
    "Nguyễn",
    "Nguyễn",
    "Nguyễn",
    "Nguyễn",
    "Nguyễn",
    "Trần",
    "Trần",
    "Lê",
    "Lê",
    "Phạm",
    "Phạm",
    "Hoàng",
    "Huỳnh",
    "Phan",
    "Vũ",
    "Võ",
    "Đặng",
    "Bùi",
    "Đỗ",
    "Hồ",
    "Ngô",
    "Dương",
    "Lý",
    "Đào",
    "Đinh",
    "Trịnh",
    "Lã",
    "Cấn",
    "Tô",
    "Phùng",
    "Tạ",
    "Mạc",
    "Từ",
    "Khổng",
    "Triệu",
    "Lò",
    "Vừ",
    "Giàng",
    "Thạch",
    "Nguye\u{302}\u{303}n",
];

/// Surnames of more than one word: the record has to say where they end.
pub(super) const COMPOUND_SURNAMES: &[(&str, Sex)] = &[
    ("Tôn Thất", Sex::Male),
    ("Tôn Nữ", Sex::Female),
    ("Công Tằng Tôn Nữ", Sex::Female),
    ("Âu Dương", Sex::Male),
    ("Công Tôn", Sex::Male),
    ("Hoàng Phủ", Sex::Male),
    ("Rơ Châm", Sex::Female),
];

/// Middle names of men.
pub(super) const MALE_MIDDLES: &[&str] =
    &["Văn", "Văn", "Văn", "Hữu", "Đức", "Minh", "Quốc", "Công", "Xuân", "Bá", "Đình", "Ngọc Bảo"];

/// Middle names of women.
pub(super) const FEMALE_MIDDLES: &[&str] =
    &["Thị", "Thị", "Thị", "Thị Ngọc", "Thanh", "Như", "Hoài", "Diễm", "Thùy", "Kiều", "Mỹ"];

/// Given names, each with a letter or tone that the others may lack.
pub(super) const GIVEN: &[(&str, Sex)] = &[
    ("An", Sex::Male),
    ("Hà", Sex::Female),
    ("Bách", Sex::Male),
    ("Thảo", Sex::Female),
    ("Nhã", Sex::Female),
    ("Hạnh", Sex::Female),
    ("Năm", Sex::Male),
    ("Hằng", Sex::Female),
    ("Thắng", Sex::Male),
    ("Thẳng", Sex::Male),
    ("Sẵn", Sex::Male),
    ("Tặng", Sex::Male),
    ("Lân", Sex::Male),
    ("Tần", Sex::Male),
    ("Tấn", Sex::Male),
    ("Cẩm", Sex::Female),
    ("Mẫn", Sex::Female),
    ("Nhật", Sex::Male),
    ("Mè", Sex::Female),
    ("Bé", Sex::Female),
    ("Sẻ", Sex::Female),
    ("Vẽ", Sex::Male),
    ("Nhẹ", Sex::Female),
    ("Khuê", Sex::Female),
    ("Hiền", Sex::Female),
    ("Tiến", Sex::Male),
    ("Hiển", Sex::Male),
    ("Diễm", Sex::Female),
    ("Huệ", Sex::Female),
    ("Bình", Sex::Male),
    ("Trí", Sex::Male),
    ("Chỉ", Sex::Female),
    ("Nghĩa", Sex::Male),
    ("Thịnh", Sex::Male),
    ("Hòa", Sex::Female),
    ("Có", Sex::Male),
    ("Nhỏ", Sex::Female),
    ("Võ", Sex::Male),
    ("Ngọc", Sex::Female),
    ("Đông", Sex::Male),
    ("Hồng", Sex::Female),
    ("Quốc", Sex::Male),
    ("Tổng", Sex::Male),
    ("Đỗ", Sex::Male),
    ("Lộc", Sex::Male),
    ("Sơn", Sex::Male),
    ("Đời", Sex::Male),
    ("Mới", Sex::Female),
    ("Nở", Sex::Female),
    ("Mỡ", Sex::Male),
    ("Lợi", Sex::Male),
    ("Hùng", Sex::Male),
    ("Tú", Sex::Female),
    ("Thủ", Sex::Male),
    ("Dũng", Sex::Male),
    ("Phụng", Sex::Female),
    ("Hưng", Sex::Male),
    ("Thừa", Sex::Male),
    ("Đức", Sex::Male),
    ("Sử", Sex::Male),
    ("Nữ", Sex::Female),
    ("Trực", Sex::Male),
    ("Quỳnh", Sex::Female),
    ("Như Ý", Sex::Female),
    ("Thuỷ", Sex::Female),
    ("Mỹ", Sex::Female),
    ("Tỵ", Sex::Male),
    ("Thúy", Sex::Female),
    ("Bảo Duy", Sex::Male),
    ("Khánh Linh", Sex::Female),
];

/// Citizens with one name only.
pub(super) const MONONYMS: &[(&str, Sex)] =
    &[("Điểu", Sex::Male), ("H'Hen", Sex::Female), ("Đrăng", Sex::Male), ("Y-Bhiơ", Sex::Male)];

/// A foreigner: surname (empty: a mononym), the other names, nationality.
pub(super) const FOREIGNERS: &[(&str, &str, &str)] = &[
    ("Müller", "Jürgen", "DE"),
    ("Lefèvre", "François-Xavier", "FR"),
    ("O'Brien", "Siobhán", "IE"),
    ("da Conceição", "João Pedro", "PT"),
    ("Østergård", "Søren", "DK"),
    ("Wójcik", "Łukasz", "PL"),
    ("Suharto", "", "ID"),
    ("Kim", "Min-jun", "KR"),
    ("Sato", "Haruka", "JP"),
    ("Siphandone", "Khamtay", "LA"),
    ("Sok", "Chanthou", "KH"),
    ("Wang", "Xiaoming", "CN"),
    ("Smith", "John William", "US"),
    ("Muñoz García", "María José", "ES"),
    ("Þórsdóttir", "Guðrún", "IS"),
    ("Yılmaz", "Çağla", "TR"),
];

/// Every province code of the CCCD's first three digits (Circular 07/2016/TT-BCA, annex 1).
pub(super) const PROVINCES: &[&str] = &[
    "001", "002", "004", "006", "008", "010", "011", "012", "014", "015", "017", "019", "020",
    "022", "024", "025", "026", "027", "030", "031", "033", "034", "035", "036", "037", "038",
    "040", "042", "044", "045", "046", "048", "049", "051", "052", "054", "056", "058", "060",
    "062", "064", "066", "067", "068", "070", "072", "074", "075", "077", "079", "080", "082",
    "083", "084", "086", "087", "089", "091", "092", "093", "094", "095", "096",
];
